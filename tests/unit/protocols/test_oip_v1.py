"""KServe v1, SageMaker, TF Serving's columns, and CSV."""

import struct

import orjson
import pytest

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip import RequestError, Signature, decode


def spec(name, datatype, *shape):
    return TensorSpec(name=name, datatype=datatype, shape=shape)


ONE = Signature((spec("x", "FP32", -1, 2),), (spec("y", "FP32", -1, 1),), batchable=True)
TWO = Signature((spec("a", "FP32", -1, 2), spec("b", "BYTES", -1)), (spec("y", "FP32", -1),), batchable=True)
TABLE = Signature(
    (spec("input", "FP64", -1, 2),),
    (spec("predict", "INT64", -1), spec("predict_proba", "FP64", -1, 3)),
    casts=True,
    batchable=True,
)


def v1(document, signature, encoding=Encoding.V1_JSON):
    text = document if isinstance(document, bytes) else orjson.dumps(document)
    return decode(text, signature=signature, encoding=encoding)


def test_instances_of_one_input():
    request = v1({"instances": [[1, 2], [3, 4]]}, ONE)
    assert request.reply == Encoding.V1_JSON
    assert request.inputs[0].shape == (2, 2)
    assert request.inputs[0].data == struct.pack("<4f", 1, 2, 3, 4)


def test_instances_by_name():
    request = v1({"instances": [{"b": "s", "a": [1, 2]}, {"a": [3, 4], "b": "t"}]}, TWO)
    assert [tensor.name for tensor in request.inputs] == ["a", "b"]
    assert request.inputs[0].data == struct.pack("<4f", 1, 2, 3, 4)
    assert request.inputs[1].data == [b"s", b"t"]


@pytest.mark.parametrize(
    ("inputs", "signature"),
    [
        pytest.param([[1, 2]], ONE, id="the only input"),
        pytest.param({"x": [[1, 2]]}, ONE, id="by name"),
    ],
)
def test_columns(inputs, signature):
    request = v1({"inputs": inputs}, signature)
    assert request.columns
    assert request.inputs[0].data == struct.pack("<2f", 1, 2)


def test_a_v2_body_is_answered_as_v2():
    request = v1({"id": "7", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}, ONE)
    assert (request.reply, request.id) == (Encoding.V2_JSON, "7")


def test_a_classifier_answers_its_prediction():
    assert v1({"instances": [[1, 2]]}, TABLE).outputs == ("predict",)


def test_csv():
    request = v1(b"1,2.5\n\n-3,\n", TABLE, Encoding.CSV)
    assert request.inputs[0].shape == (2, 2)
    first, second, third, empty = struct.unpack("<4d", bytes(request.inputs[0].data))
    assert (first, second, third) == (1, 2.5, -3)
    assert empty != empty, "an empty field is NaN"


@pytest.mark.parametrize(
    ("document", "signature", "words"),
    [
        pytest.param({}, ONE, 'neither "instances" nor "inputs"', id="neither"),
        pytest.param({"instances": []}, ONE, "at least one row", id="no instances"),
        pytest.param({"instances": 3}, ONE, "at least one row", id="a number"),
        pytest.param({"instances": [1, 2]}, ONE, "rank 2 and not 1", id="rank"),
        pytest.param({"instances": [[1, 2], [3]]}, ONE, "dimension 1", id="uneven rows"),
        pytest.param({"instances": [[1, 2, 3]]}, ONE, "[1, 3]: this model takes [-1, 2]", id="width"),
        pytest.param({"instances": [["1", "2"]]}, ONE, "element 0 is '1'", id="text"),
        pytest.param({"instances": [[1, 2]]}, TWO, "give each by its name", id="unnamed, two inputs"),
        pytest.param({"instances": [{"a": [1, 2]}]}, TWO, "input 'b' is missing", id="one of two"),
        pytest.param({"instances": [{"a": 1}, {"b": 1}]}, TWO, "instance 1 does not name", id="other names"),
        pytest.param({"instances": [{"a": 1}, 2]}, TWO, "instance 1 does not name", id="mixed"),
        pytest.param({"inputs": {"q": [[1, 2]]}}, ONE, "unknown input 'q'", id="unknown column"),
        pytest.param({"inputs": 5}, ONE, "must be a list of rows", id="column is a number"),
        pytest.param(b"[1]", ONE, "must be a JSON object", id="a list"),
    ],
)
def test_refused(document, signature, words):
    with pytest.raises(RequestError) as caught:
        v1(document, signature)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "signature", "words"),
    [
        pytest.param(b"a,b\n1,2\n", TABLE, "line 1 of the CSV body", id="header"),
        pytest.param(b"1,2\n3\n", TABLE, "dimension 1", id="uneven"),
        pytest.param(b"1,2,3\n", TABLE, "[1, 3]", id="width"),
        pytest.param(b"", TABLE, "no rows", id="empty"),
        pytest.param(b"1_0,2\n", TABLE, "line 1", id="underscore"),
        pytest.param(b"\xff", TABLE, "not UTF-8", id="UTF-8"),
        pytest.param(b"1,2\n", ONE, "tabular models", id="not tabular"),
    ],
)
def test_csv_refused(text, signature, words):
    with pytest.raises(RequestError) as caught:
        v1(text, signature, Encoding.CSV)
    assert words in str(caught.value)
