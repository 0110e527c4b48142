"""Bodies to requests: what the protocol's text allows, and what is refused in which words."""

import struct

import orjson
import pytest

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip import RequestError, Signature, check, decode


def spec(name, datatype, *shape):
    return TensorSpec(name=name, datatype=datatype, shape=shape)


ONE = Signature((spec("x", "FP32", -1, 2),), (spec("y", "FP32", -1, 1), spec("z", "INT64", -1)), batchable=True)
TWO = Signature((spec("a", "FP32", -1, 2), spec("b", "INT64", -1)), (spec("y", "FP32", -1),), batchable=True)
TABLE = Signature((spec("input", "FP64", -1, 2),), (spec("predict", "INT64", -1),), casts=True, batchable=True)


def tensor(**changes):
    return {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2], **changes}


def body(*inputs, **fields):
    return orjson.dumps({"inputs": list(inputs), **fields})


def only(datatype, *shape):
    return Signature((spec("x", datatype, *(shape or (-1,))),))


def test_example_of_the_protocol_text():
    """The inference request of the protocol's text, its data nested as there; answers are in test_oip_encode."""
    text = b"""{
      "id" : "42",
      "inputs" : [
        {"name" : "input0", "shape" : [ 2, 2 ], "datatype" : "UINT32", "data" : [ 1, 2, 3, 4 ]},
        {"name" : "input1", "shape" : [ 3 ], "datatype" : "BOOL", "data" : [ true, false, true ]}
      ],
      "outputs" : [ {"name" : "output0"} ]
    }"""
    signature = Signature((spec("input0", "UINT32", 2, 2), spec("input1", "BOOL", 3)), (spec("output0", "FP32", 3, 2),))
    request = decode(text, signature=signature)
    assert (request.id, request.outputs) == ("42", ("output0",))
    assert [(t.name, t.datatype, t.shape) for t in request.inputs] == [
        ("input0", "UINT32", (2, 2)),
        ("input1", "BOOL", (3,)),
    ]
    assert request.inputs[0].data == struct.pack("<4I", 1, 2, 3, 4)
    assert request.inputs[1].data == b"\1\0\1"


def test_binary_example_of_the_extension():
    """The binary tensor extension's example: JSON, then one 2 x 2 UINT32 tensor and one BOOL tensor of three bytes."""
    head = orjson.dumps(
        {
            "inputs": [
                {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "parameters": {"binary_data_size": 16}},
                {"name": "input1", "shape": [3], "datatype": "BOOL", "parameters": {"binary_data_size": 3}},
            ],
            "outputs": [{"name": "output0", "parameters": {"binary_data": True}}],
        }
    )
    signature = Signature((spec("input0", "UINT32", 2, 2), spec("input1", "BOOL", 3)), (spec("output0", "FP32", 3, 2),))
    raw = struct.pack("<4I", 1, 2, 3, 4) + b"\1\0\1"
    whole = head + raw
    request = decode(whole, signature=signature, encoding=Encoding.V2_BINARY, json_bytes=len(head))
    first, second = (tensor.data for tensor in request.inputs)
    assert isinstance(first, memoryview)
    assert first.obj is whole, "a view of the body, not a copy"
    assert first == raw[:16]
    assert second == raw[16:]
    assert request.binary == frozenset({"output0"})


@pytest.mark.parametrize(
    ("datatype", "data", "packed"),
    [
        pytest.param("FP32", [1, -0.5], struct.pack("<2f", 1, -0.5), id="whole numbers are floats too"),
        pytest.param("FP64", [0.1, 1e308], struct.pack("<2d", 0.1, 1e308), id="FP64"),
        pytest.param("INT64", [2**63 - 1, -(2**63)], struct.pack("<2q", 2**63 - 1, -(2**63)), id="INT64 exact"),
        pytest.param("UINT64", [2**64 - 1, 0], b"\xff" * 8 + bytes(8), id="UINT64 exact"),
        pytest.param("INT8", [-128, 127], b"\x80\x7f", id="INT8"),
        pytest.param("UINT8", [0, 255], b"\0\xff", id="UINT8"),
        pytest.param("BOOL", [True, False], b"\1\0", id="BOOL"),
        pytest.param("BYTES", ["ä", ""], ["ä".encode(), b""], id="BYTES as UTF-8"),
    ],
)
def test_json_elements(datatype, data, packed):
    request = decode(body(tensor(datatype=datatype, shape=[2], data=data)), signature=only(datatype))
    assert request.inputs[0].data == packed


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        pytest.param([2, 2], [[1, 2], [3, 4]], id="nested"),
        pytest.param([2, 2], [1, 2, 3, 4], id="flat"),
        pytest.param([2, 2, 1], [[[1], [2]], [[3], [4]]], id="three deep"),
    ],
)
def test_nested_data_is_row_major(shape, data):
    request = decode(body(tensor(shape=shape, data=data)), signature=only("FP32", *[-1] * len(shape)))
    assert request.inputs[0].data == struct.pack("<4f", 1, 2, 3, 4)


REFUSED = [
    pytest.param(ONE, b"", "not JSON", id="empty body"),
    pytest.param(ONE, b"\xff{}", "not JSON", id="invalid UTF-8"),
    pytest.param(ONE, b"[1]", "must be a JSON object", id="not an object"),
    pytest.param(ONE, b"[" * 10_000 + b"]" * 10_000, "not JSON", id="10,000 deep"),
    pytest.param(ONE, b'{"inputs":' + b"[" * 900 + b"]" * 900 + b"}", "must be an object with a name", id="900 deep"),
    pytest.param(ONE, b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[NaN,1]}]}', "JSON", id="NaN"),
    pytest.param(ONE, b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1e999,1]}]}', "JSON", id="inf"),
    pytest.param(ONE, b"{}", "inputs must be a list", id="no inputs"),
    pytest.param(ONE, body(), "input 'x' is missing", id="empty inputs"),
    pytest.param(ONE, body(3), "must be an object with a name", id="input is a number"),
    pytest.param(ONE, body(tensor(name="q")), "unknown input 'q': this model takes 'x'", id="wrong name"),
    pytest.param(ONE, body(tensor(name="q" * 1000)), "unknown input 'qqq", id="a long name is cut"),
    pytest.param(ONE, body(tensor(), tensor()), "'x' is given twice", id="duplicate"),
    pytest.param(TWO, body(tensor(name="a")), "input 'b' is missing", id="one of two"),
    pytest.param(ONE, body(tensor(datatype="FP64")), "'x' is 'FP64': this model takes FP32", id="datatype"),
    pytest.param(ONE, body(tensor(datatype="FLOAT")), "is not one of BOOL", id="unknown datatype"),
    pytest.param(ONE, body(tensor(datatype=[])), "is not one of BOOL", id="datatype is a list"),
    pytest.param(ONE, body(tensor(shape=[2])), "rank 2 and not 1", id="rank"),
    pytest.param(ONE, body(tensor(shape=[1, 3])), "shape [1, 3]: this model takes [-1, 2]", id="fixed dimension"),
    pytest.param(ONE, body(tensor(shape=[-1, 2])), "shape has -1", id="negative dimension"),
    pytest.param(ONE, body(tensor(shape=[1.0, 2])), "shape has 1.0", id="a float in a shape"),
    pytest.param(ONE, body(tensor(shape=[True, 2])), "shape has True", id="a boolean in a shape"),
    pytest.param(ONE, body(tensor(shape="1,2")), "must be a list", id="shape is text"),
    pytest.param(ONE, body(tensor(shape=[1] * 40)), "at most 32", id="40 dimensions"),
    pytest.param(ONE, body(tensor(shape=[0, 2], data=[])), "no rows", id="no rows"),
    pytest.param(ONE, body(tensor(shape=[2**62, 2])), "has 2 elements", id="huge: counted, never allocated"),
    pytest.param(ONE, body(tensor(data=[1])), "has 1 elements: shape [1, 2] needs 2", id="too few"),
    pytest.param(ONE, body(tensor(data=[1, 2, 3])), "has 3 elements", id="too many"),
    pytest.param(ONE, body(tensor(data=[[1], [2]])), "in dimension 0, shape says 1", id="nested otherwise"),
    pytest.param(ONE, body(tensor(data=[[1, 2], 3])), "dimension", id="nested unevenly"),
    pytest.param(ONE, body(tensor(data=[[1, [2]]])), "element 1 is a list", id="nested deeper than the shape"),
    pytest.param(ONE, body(tensor(data="12")), "data must be a list", id="data is text"),
    pytest.param(ONE, body(tensor(data=None)), "data must be a list", id="data is null"),
    pytest.param(ONE, body(tensor(data=[1, None])), "element 1 is None, which is not FP32", id="null in data"),
    pytest.param(ONE, body(tensor(data=[1, "2"])), "element 1 is '2'", id="text in numbers"),
    pytest.param(ONE, body(tensor(data=[1, True])), "not true or false", id="boolean in numbers"),
    pytest.param(ONE, body(tensor(data=[1, 1e39])), "element 1 is 1e+39, which is not FP32", id="over FP32"),
    pytest.param(
        ONE, orjson.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32"}]}), "neither", id="no data"
    ),
    pytest.param(only("INT64"), body(tensor(datatype="INT64", shape=[1], data=[1.0])), "not INT64", id="float as int"),
    pytest.param(
        only("UINT64"),
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"UINT64","data":[18446744073709551616]}]}',
        "not UINT64",
        id="over UINT64",
    ),
    pytest.param(only("UINT8"), body(tensor(datatype="UINT8", shape=[1], data=[256])), "not UINT8", id="over UINT8"),
    pytest.param(only("BOOL"), body(tensor(datatype="BOOL", shape=[1], data=[1])), "not BOOL", id="1 is not true"),
    pytest.param(only("BYTES"), body(tensor(datatype="BYTES", shape=[1], data=[1])), "not BYTES", id="number as text"),
    pytest.param(only("FP16"), body(tensor(datatype="FP16", shape=[1], data=[1])), "no JSON form", id="FP16 in JSON"),
    pytest.param(only("BF16"), body(tensor(datatype="BF16", shape=[1], data=[1])), "no JSON form", id="BF16 in JSON"),
    pytest.param(ONE, body(tensor(), id=7), "id must be a string", id="id is a number"),
    pytest.param(ONE, body(tensor(), parameters=[]), "parameters must be an object", id="parameters are a list"),
    pytest.param(ONE, body(tensor(), parameters={"p": None}), "'p' must be a string", id="parameter is null"),
    pytest.param(ONE, body(tensor(parameters={"p": {}})), "input 'x': parameter 'p'", id="parameter of an input"),
    pytest.param(ONE, body(tensor(), parameters={"binary_data_output": 1}), "true or false", id="flag is a number"),
    pytest.param(ONE, body(tensor(), outputs={}), "outputs must be a list", id="outputs are an object"),
    pytest.param(
        ONE,
        body(tensor(), outputs=[{"name": "q"}]),
        "unknown output 'q': this model gives 'y', 'z'",
        id="unknown output",
    ),
    pytest.param(ONE, body(tensor(), outputs=[{"name": "y"}, {"name": "y"}]), "asked for twice", id="output twice"),
    pytest.param(ONE, body(tensor(parameters={"binary_data_size": 8})), "both data and", id="data twice"),
    pytest.param(
        TWO,
        body(tensor(name="a"), {"name": "b", "datatype": "INT64", "shape": [2], "data": [1, 2]}),
        "inputs differ in their number of rows: 'a' 1, 'b' 2",
        id="rows differ",
    ),
]


@pytest.mark.parametrize(("signature", "text", "words"), REFUSED)
def test_refused(signature, text, words):
    with pytest.raises(RequestError) as caught:
        decode(text, signature=signature)
    message = str(caught.value)
    assert words in message
    assert caught.value.status == 400
    assert "\n" not in message
    assert len(message) < 400
    with pytest.raises(RequestError) as checked:
        check(text, signature=signature)
    assert str(checked.value) == message


def binary(datatype, shape, raw, *, size=None, tail=b""):
    parameters = {"binary_data_size": len(raw) if size is None else size}
    head = body({"name": "x", "datatype": datatype, "shape": shape, "parameters": parameters})
    return head + raw + tail, len(head)


def framed(*elements):
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


@pytest.mark.parametrize(
    ("datatype", "shape", "sent", "words"),
    [
        pytest.param("FP32", [2], binary("FP32", [2], bytes(4)), "4 bytes: FP32 of shape [2] needs 8", id="short"),
        pytest.param("FP32", [1], binary("FP32", [1], bytes(8)), "8 bytes: FP32 of shape [1] needs 4", id="long"),
        pytest.param("FP32", [1], binary("FP32", [1], bytes(4), tail=b"!"), "1 bytes are left", id="more behind it"),
        pytest.param("FP32", [2], binary("FP32", [2], bytes(4), size=8), "4 bytes are left after", id="body ends"),
        pytest.param("FP32", [1], binary("FP32", [1], b"", size=-4), "whole number from 0", id="negative size"),
        pytest.param("FP32", [1], binary("FP32", [1], b"", size=True), "whole number from 0", id="boolean size"),
        pytest.param("FP32", [2**60], binary("FP32", [2**60], bytes(4)), "has 4 bytes", id="huge shape"),
        pytest.param("BOOL", [2], binary("BOOL", [2], b"\1\2"), "bytes 0 and 1 only", id="BOOL of 2"),
        pytest.param("BYTES", [2], binary("BYTES", [2], framed(b"a")), "too few", id="one element of two"),
        pytest.param("BYTES", [1], binary("BYTES", [1], framed(b"a", b"b")), "bytes are left", id="two of one"),
        pytest.param("BYTES", [1], binary("BYTES", [1], struct.pack("<I", 9) + b"a"), "reaches beyond", id="cut"),
        pytest.param("BYTES", [2], binary("BYTES", [2], framed(b"abcd") + b"\1"), "reaches beyond", id="half a length"),
        pytest.param("BYTES", [2**60], binary("BYTES", [2**60], b"abcd"), "too few", id="huge count"),
    ],
)
def test_binary_refused(datatype, shape, sent, words):
    text, json_bytes = sent
    with pytest.raises(RequestError, match=r"input 'x'|bytes are left") as caught:
        decode(text, signature=only(datatype), encoding=Encoding.V2_BINARY, json_bytes=json_bytes)
    assert words in str(caught.value)


def test_json_part_longer_than_the_body():
    with pytest.raises(RequestError, match="said to have 10 bytes but the body has 2"):
        decode(b"{}", signature=ONE, encoding=Encoding.V2_BINARY, json_bytes=10)


@pytest.mark.parametrize("raw", [framed(b"a", b"\xff\0"), framed(b"", b"")])
def test_binary_bytes(raw):
    text, json_bytes = binary("BYTES", [2], raw)
    request = decode(text, signature=only("BYTES"), encoding=Encoding.V2_BINARY, json_bytes=json_bytes)
    assert isinstance(request.inputs[0].data, list)
    assert framed(*request.inputs[0].data) == raw


@pytest.mark.parametrize("datatype", ["INT32", "UINT64", "FP32", "FP64"])
def test_tabular_models_take_any_number(datatype):
    text = body({"name": "input", "datatype": datatype, "shape": [1, 2], "data": [1, 2]})
    assert decode(text, signature=TABLE).inputs[0].datatype == datatype


@pytest.mark.parametrize(("datatype", "data"), [("BOOL", [True, False]), ("BYTES", ["1", "2"])])
def test_tabular_models_take_numbers_only(datatype, data):
    with pytest.raises(RequestError, match="takes FP64"):
        decode(body({"name": "input", "datatype": datatype, "shape": [1, 2], "data": data}), signature=TABLE)


def test_a_remembered_head_is_still_judged_by_its_types():
    """1, 1.0 and True are equal keys of a dict; only the first is a dimension."""
    decode(body(tensor()), signature=ONE)
    for size in (1.0, True):
        with pytest.raises(RequestError):
            decode(body(tensor(shape=[size, 2])), signature=ONE)


def test_outputs_and_parameters():
    request = decode(
        body(
            tensor(),
            outputs=[{"name": "z", "parameters": {"binary_data": False}}, {"name": "y"}],
            parameters={"binary_data_output": True, "timeout": 2500, "note": "x"},
        ),
        signature=ONE,
    )
    assert request.outputs == ("z", "y")
    assert request.binary == frozenset({"y"}), "the flag of an output overrides that of the request"
    assert request.timeout_us == 2500


@pytest.mark.parametrize("timeout", [True, -1, 0, "10", 1.5])
def test_odd_timeouts_are_none(timeout):
    assert decode(body(tensor(), parameters={"timeout": timeout}), signature=ONE).timeout_us == 0


def test_an_undeclared_model_takes_any_tensor():
    text = body(tensor(name="whatever", datatype="INT8", shape=[2, 1], data=[[1], [2]]))
    request = decode(text, signature=Signature())
    assert (request.inputs[0].name, request.rows, request.outputs) == ("whatever", 2, ())
