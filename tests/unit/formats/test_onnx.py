"""What we read from ONNX is what onnx itself reads."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sizewise.core.tensors import TensorSpec
from sizewise.formats import inspect
from tests.unit.formats.conftest import Inspect


def model(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: list[Any], **more: Any) -> bytes:
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, **more).SerializeToString()
    return data


def identity(shape: list[Any] | None, *, datatype: int = TensorProto.FLOAT, weights: list[Any] | None = None) -> bytes:
    x, y = (helper.make_tensor_value_info(name, datatype, shape) for name in "xy")
    return model([helper.make_node("Identity", ["x"], ["y"])], [x], [y], weights or [])


def test_facts(onnx_bytes: bytes, inspect_bytes: Inspect) -> None:
    facts = inspect_bytes(onnx_bytes, "m.onnx")
    weights = [numpy_helper.to_array(each) for each in onnx.load_from_string(onnx_bytes).graph.initializer]
    assert facts.platform == "onnx_onnxv1"
    assert facts.runtime == "onnx"
    assert facts.parameters == sum(each.size for each in weights) + 1
    assert facts.weights_bytes == sum(each.nbytes for each in weights) + 4
    assert facts.inputs == (TensorSpec(name="x", datatype="FP32", shape=(-1, 4)),)
    assert facts.outputs == (TensorSpec(name="y", datatype="FP32", shape=(-1, 3)),)
    assert facts.batchable
    assert (facts.entry, facts.files, facts.disk_bytes) == ("m.onnx", ("m.onnx",), len(onnx_bytes))


@pytest.mark.parametrize(
    ("shape", "read", "batchable"),
    [
        pytest.param(["n", 3], (-1, 3), True, id="named dimension"),
        pytest.param([None, 3], (-1, 3), True, id="unnamed dimension"),
        pytest.param([1, 3], (1, 3), False, id="fixed batch"),
        pytest.param([-1, 3], (-1, 3), True, id="-1 written by an exporter"),
        pytest.param([], (), False, id="scalar"),
        pytest.param(None, (-1,), True, id="rank not declared"),
    ],
)
def test_shapes(inspect_bytes: Inspect, shape: list[Any] | None, read: tuple[int, ...], batchable: bool) -> None:
    facts = inspect_bytes(identity(shape), "m.onnx")
    assert facts.inputs[0].shape == read
    assert facts.batchable is batchable


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int8, np.uint8, np.int32, np.int64, np.bool_, np.uint64])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed fields"])
def test_datatypes_of_weights(inspect_bytes: Inspect, kind: type[np.generic], raw: bool) -> None:
    values = np.arange(6).reshape(2, 3).astype(kind)
    as_raw = numpy_helper.from_array(values, "w")
    # make_tensor takes the bits of a half-precision number
    listed = values.view(np.uint16) if kind is np.float16 else values
    typed = helper.make_tensor("w", as_raw.data_type, [2, 3], listed.flatten().tolist())
    facts = inspect_bytes(identity(["n"], weights=[as_raw if raw else typed]), "m.onnx")
    assert facts.parameters == 6
    assert facts.weights_bytes == values.nbytes


def test_initializers_listed_as_inputs_are_not_inputs(inspect_bytes: Inspect) -> None:
    x, y, w = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in "xyw")
    weight = numpy_helper.from_array(np.ones((1, 2), np.float32), "w")
    data = model([helper.make_node("Add", ["x", "w"], ["y"])], [x, w], [y], [weight], ir_version=3)
    assert [spec.name for spec in inspect_bytes(data, "m.onnx").inputs] == ["x"]


def test_subgraphs_weigh(inspect_bytes: Inspect) -> None:
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    branches = []
    for name in ("then", "else"):
        weight = numpy_helper.from_array(np.ones(50, np.float32), f"{name}_w")
        out = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, [2])
        branches.append(
            helper.make_graph([helper.make_node("Identity", [f"{name}_w"], [f"{name}_y"])], name, [], [out], [weight])
        )
    node = helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    c = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    assert inspect_bytes(model([node], [c], [y], []), "m.onnx").parameters == 100


def test_lists_of_machine_learning_operators_weigh(inspect_bytes: Inspect, forest: Any) -> None:
    """A forest keeps its trees in lists of numbers, one field for each: as many as onnx counts."""
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType

    proto = skl2onnx.convert_sklearn(
        forest, initial_types=[("x", FloatTensorType([None, 4]))], options={"zipmap": False}, target_opset=17
    )
    facts = inspect_bytes(proto.SerializeToString(), "m.onnx")
    counted = sum(len(a.floats) + len(a.ints) for node in proto.graph.node if node.domain for a in node.attribute)
    stored = sum(int(np.prod(each.dims)) for each in proto.graph.initializer)
    assert facts.parameters == counted + stored
    assert [spec.name for spec in facts.outputs] == ["label", "probabilities"]


def test_a_sequence_output_is_named_and_left_out(inspect_bytes: Inspect, forest: Any) -> None:
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType

    proto = skl2onnx.convert_sklearn(forest, initial_types=[("x", FloatTensorType([None, 4]))], target_opset=17)
    facts = inspect_bytes(proto.SerializeToString(), "m.onnx")
    assert [spec.name for spec in facts.outputs] == [proto.graph.output[0].name]
    assert any("sequence" in note for note in facts.notes)


def external(folder: Path, *, location: str = "w.bin", data: bytes = bytes(24), **entries: str) -> Path:
    """A model whose weight of six floats lies outside."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    if data and "/" not in location:
        (folder / location).write_bytes(data)
    path = folder / "m.onnx"
    path.write_bytes(identity(["n"], weights=[tensor]))
    return path


def test_external_data_weighs(tmp_path: Path) -> None:
    path = external(tmp_path, data=bytes(100), offset="8", length="24")
    facts = inspect(path)
    assert facts.files == ("m.onnx", "w.bin")
    assert facts.disk_bytes == 100 + path.stat().st_size
    assert facts.weights_bytes == 24
    assert inspect(tmp_path).entry == "m.onnx"


def test_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    """Holes stand for weights: the file claims 1 GiB and reading it would show in the bytes the process has read."""
    size = 1 << 30
    head = identity(["n"], weights=[])
    opened = tmp_path / "m.onnx"
    # A second occurrence of the graph field would be merged by protobuf, so the tensor goes into a Constant's place
    tensor = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[size]).SerializeToString()
    tensor += b"\x4a" + varint(size)
    inside = b"\x2a" + varint(len(tensor) + size) + tensor
    proto = onnx.load_from_string(head)
    graph = proto.graph.SerializeToString()
    rest = b"".join(b"\x42" + varint(len(each)) + each for each in (o.SerializeToString() for o in proto.opset_import))
    with opened.open("wb") as stream:
        stream.write(b"\x08\x08" + rest + b"\x3a" + varint(len(graph) + len(inside) + size) + graph + inside)
        stream.truncate(stream.tell() + size)
    before = read_bytes()
    facts = inspect(opened)
    assert facts.weights_bytes == size
    assert read_bytes() - before < 1 << 20


def read_bytes() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes((*parts, value))
