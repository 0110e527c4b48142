"""Requests to bodies and answers to messages, without a server."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.grpc_gateway.messages import ModelInferRequest
from sizewise.grpc_gateway.translate import BadRequestError, answer_of, body_of
from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip import Signature, decode


def request(datatype: str, shape: list[int], raw: bytes) -> ModelInferRequest:
    made = ModelInferRequest(model_name="m", raw_input_contents=[raw])
    made.inputs.add(name="x", datatype=datatype, shape=shape)
    return made


@given(st.binary(max_size=64))
def test_raw_bytes_pass_as_they_are(raw: bytes) -> None:
    head, parts = body_of(request("UINT8", [len(raw) or 1], raw))
    assert parts == [raw]
    if raw:
        found = decode(head + raw, signature=Signature(), encoding=Encoding.V2_BINARY, json_bytes=len(head))
        assert bytes(found.inputs[0].data) == raw  # type: ignore[arg-type]
        assert found.binary is True


def test_parameters_and_outputs_are_passed_on() -> None:
    made = request("UINT8", [1], b"a")
    made.parameters["timeout"].int64_param = 9
    made.parameters["nothing"].SetInParent()
    made.outputs.add(name="y").parameters["k"].string_param = "v"
    document = orjson.loads(body_of(made)[0])
    assert document["parameters"] == {"timeout": 9, "binary_data_output": True}
    assert document["outputs"] == [{"name": "y", "parameters": {"k": "v", "binary_data": True}}]


@pytest.mark.parametrize(
    ("field", "values", "datatype", "words"),
    [
        pytest.param("int_contents", [128], "INT8", "does not fit INT8", id="over the datatype"),
        pytest.param("uint_contents", [1], "FP32", "belong into fp32_contents", id="in another field"),
        pytest.param("fp32_contents", [1.0], "FP16", "raw_input_contents", id="no typed form"),
        pytest.param("fp32_contents", [1.0], "X" * 99, "no such datatype", id="no datatype"),
    ],
)
def test_typed_contents_that_do_not_fit(field: str, values: list[float], datatype: str, words: str) -> None:
    made = ModelInferRequest(model_name="m")
    getattr(made.inputs.add(name="x", datatype=datatype, shape=[1]).contents, field).extend(values)
    with pytest.raises(BadRequestError, match=words):
        body_of(made)


def test_an_answer() -> None:
    tensor = {"name": "y", "datatype": "FP16", "shape": [1, 2], "parameters": {"binary_data_size": 4}}
    head = orjson.dumps({"model_name": "m", "model_version": "1", "id": "a", "outputs": [tensor]})
    answer = answer_of(head + b"abcd", len(head))
    assert (answer.model_name, answer.model_version, answer.id) == ("m", "1", "a")
    assert list(answer.outputs[0].shape) == [1, 2]
    assert list(answer.raw_output_contents) == [b"abcd"]
    with pytest.raises(ValueError, match="left behind"):
        answer_of(head + b"abcde", len(head))
