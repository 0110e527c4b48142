"""Arrays to answers."""

import struct

import numpy as np
import orjson
import pytest

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip import InferRequest, RequestError, Signature, Tensor
from sizewise.protocols.oip.encode import WHOLE, Encoder

SIGNATURE = Signature(outputs=(TensorSpec(name="half", datatype="BF16", shape=(-1,)),))


def asked(*, reply=Encoding.V2_JSON, **fields):
    return InferRequest([], (), reply, **fields)


def answer(arrays, request=None, rows=WHOLE, *, split=False):
    encoder = Encoder("m", "1", SIGNATURE)
    outputs = encoder.outputs(arrays)
    if split:
        for output in outputs:
            output.split_rows()
    return encoder.answer(request or asked(), outputs, rows)


def document(given):
    assert len(given.parts) == 1
    return orjson.loads(given.parts[0])


def test_answer_of_the_protocol_text():
    """The protocol's example answer, with the model_version that this server always sends."""
    array = np.array([[1.0, 1.1], [2.0, 2.1], [3.0, 3.1]], np.float32)
    assert document(answer({"output0": array}, asked(id="42"))) == {
        "model_name": "m",
        "model_version": "1",
        "id": "42",
        "outputs": [{"name": "output0", "shape": [3, 2], "datatype": "FP32", "data": [1.0, 1.1, 2.0, 2.1, 3.0, 3.1]}],
    }


@pytest.mark.parametrize("request_id", ["", 'q"\n', "ä", None])
def test_the_id_comes_back_exactly_when_given(request_id):
    given = document(answer({"y": np.zeros(1)}, asked(id=request_id)))
    assert given.get("id") == request_id
    assert ("id" in given) is (request_id is not None)


@pytest.mark.parametrize(
    ("array", "datatype", "data"),
    [
        pytest.param(np.array([2**64 - 1], np.uint64), "UINT64", [2**64 - 1], id="UINT64"),
        pytest.param(np.array([-(2**63)], np.int64), "INT64", [-(2**63)], id="INT64"),
        pytest.param(np.array([True]), "BOOL", [True], id="BOOL"),
        pytest.param(np.array([7], np.int8), "INT8", [7], id="INT8"),
        pytest.param(np.array(["null"]), "BYTES", ["null"], id="text that reads null"),
        pytest.param(np.array([b"a", "b"], object), "BYTES", ["a", "b"], id="objects"),
        pytest.param(np.array([1.5], ">f8"), "FP64", [1.5], id="big-endian"),
        pytest.param(np.arange(4.0).reshape(2, 2).T, "FP64", [0, 2, 1, 3], id="not contiguous"),
        pytest.param(np.array(3.0), "FP64", [3.0], id="no dimensions"),
    ],
)
def test_json_outputs(array, datatype, data):
    output = document(answer({"y": array}))["outputs"][0]
    assert (output["datatype"], output["data"], output["shape"]) == (datatype, data, list(array.shape))


def test_rows_of_a_batch():
    arrays = {"y": np.arange(6, dtype=np.float32).reshape(3, 2), "n": np.arange(3)}
    for split in (False, True):
        for row in range(3):
            outputs = document(answer(arrays, rows=slice(row, row + 1), split=split))["outputs"]
            assert [output["data"] for output in outputs] == [[2 * row, 2 * row + 1], [row]]
            assert [output["shape"] for output in outputs] == [[1, 2], [1]]
    outputs = document(answer(arrays, rows=slice(1, 3), split=True))["outputs"]
    assert [output["data"] for output in outputs] == [[2, 3, 4, 5], [1, 2]]


def test_binary_outputs():
    array = np.arange(4, dtype=np.float32).reshape(2, 2)
    text = np.array([b"ab", b""], object)
    given = answer({"y": array, "t": text, "n": np.array([1, 2])}, asked(binary=frozenset({"y", "t"})))
    assert given.encoding == Encoding.V2_BINARY
    assert given.json_bytes == len(given.parts[0])
    outputs = orjson.loads(given.parts[0])["outputs"]
    assert [output.get("parameters") for output in outputs] == [
        {"binary_data_size": 16},
        {"binary_data_size": 10},
        None,
    ]
    assert bytes(given.parts[1]) == array.tobytes()
    assert bytes(given.parts[2]) == struct.pack("<I2sI", 2, b"ab", 0)
    assert outputs[2]["data"] == [1, 2]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        pytest.param("y", np.array([1.0, np.nan]), id="NaN"),
        pytest.param("y", np.array([[np.inf]], np.float32), id="infinity"),
        pytest.param("y", np.array([1], np.float16), id="FP16"),
        pytest.param("half", np.array([1], np.uint16), id="BF16"),
        pytest.param("y", np.array([b"\xff"], object), id="bytes that are no text"),
    ],
)
def test_what_json_cannot_carry(name, array):
    with pytest.raises(RequestError) as caught:
        answer({name: array})
    assert caught.value.status == 422
    assert "binary_data" in str(caught.value)
    raw = answer({name: array}, asked(binary=True)).parts[1]
    assert len(raw) >= array.size


def test_one_bad_row_leaves_the_others_alone():
    arrays = {"y": np.array([[1.0], [np.nan]])}
    assert document(answer(arrays, rows=slice(0, 1), split=True))["outputs"][0]["data"] == [1.0]
    with pytest.raises(RequestError):
        answer(arrays, rows=slice(1, 2), split=True)


def test_unknown_dtypes_are_the_models_fault():
    with pytest.raises(RequestError) as caught:
        answer({"y": np.zeros(1, np.complex64)})
    assert caught.value.status == 500


@pytest.mark.parametrize(
    ("columns", "arrays", "rows", "text"),
    [
        pytest.param(False, {"y": np.array([[1.5], [2]])}, WHOLE, {"predictions": [[1.5], [2.0]]}, id="one output"),
        pytest.param(False, {"y": np.array([1, 2, 3])}, slice(1, 2), {"predictions": [2]}, id="some rows"),
        pytest.param(
            False,
            {"y": np.array([1, 2]), "z": np.array([["a"], ["b"]])},
            WHOLE,
            {"predictions": [{"y": 1, "z": ["a"]}, {"y": 2, "z": ["b"]}]},
            id="two outputs",
        ),
        pytest.param(
            False,
            {"y": np.array([1, 2]), "z": np.array(5)},
            WHOLE,
            {"predictions": {"y": [1, 2], "z": 5}},
            id="no rows",
        ),
        pytest.param(True, {"y": np.array([1, 2])}, WHOLE, {"outputs": [1, 2]}, id="a column"),
        pytest.param(
            True, {"y": np.array([1]), "z": np.array([2])}, WHOLE, {"outputs": {"y": [1], "z": [2]}}, id="columns"
        ),
        pytest.param(False, {"y": np.array([1.5], np.float16)}, WHOLE, {"predictions": [1.5]}, id="FP16"),
        pytest.param(False, {"half": np.array([0x3FC0], np.uint16)}, WHOLE, {"predictions": [1.5]}, id="BF16"),
    ],
)
def test_v1_answers(columns, arrays, rows, text):
    request = asked(reply=Encoding.V1_JSON, columns=columns)
    request.inputs = [Tensor("x", "FP32", (2,), b"")]
    assert document(answer(arrays, request, rows)) == text
