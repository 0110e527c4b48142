"""Our table of messages against the description that NVIDIA's client carries."""

import pytest
from tritonclient.grpc import service_pb2

from sizewise.grpc_gateway import messages
from sizewise.grpc_gateway.messages import message_class

NAMES = [name for name in messages._INFERENCE if "." not in name]


def shape(descriptor: object, *, only: set[str] | None = None) -> dict[str, tuple[object, ...]]:
    """Number, type, repetition and choice of each field, nested messages included."""
    found: dict[str, tuple[object, ...]] = {}
    for field in descriptor.fields:  # type: ignore[attr-defined]
        if only is not None and field.name not in only:
            continue
        kind = field.message_type.full_name if field.message_type is not None else field.type
        choice = field.containing_oneof is not None
        found[field.name] = (field.number, kind, field.is_repeated, choice)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_each_message_is_the_same_on_the_wire(name: str) -> None:
    ours, theirs = message_class(f"inference.{name}").DESCRIPTOR, service_pb2.DESCRIPTOR.message_types_by_name[name]
    mine = shape(ours)
    assert mine == shape(theirs, only=set(mine))
    for nested in ours.nested_types:
        inner = shape(nested)
        assert inner == shape(theirs.nested_types_by_name[nested.name], only=set(inner))


def test_what_is_written_here_is_read_there() -> None:
    ours = message_class("inference.ModelInferRequest")(model_name="m", id="1", raw_input_contents=[b"ab"])
    ours.parameters["timeout"].int64_param = 5
    tensor = ours.inputs.add(name="x", datatype="FP32", shape=[1, -1])
    tensor.contents.fp32_contents.extend([0.5])
    theirs = service_pb2.ModelInferRequest.FromString(ours.SerializeToString())
    assert theirs.SerializeToString(deterministic=True) == ours.SerializeToString(deterministic=True)
    assert theirs.parameters["timeout"].int64_param == 5
    assert theirs.inputs[0].contents.fp32_contents == [0.5]
