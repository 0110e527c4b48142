"""ONNX: graph, weights and side files, read from the protocol buffer without loading it.

Source: onnx.proto of ONNX 1.23. Weights are initializers and constant tensors of nodes, of subgraphs and functions
too, and what nodes of ``ai.onnx.ml`` keep in lists: trees, coefficients, vocabularies.
"""

from collections.abc import Iterator
from pathlib import Path

from sizewise.core.tensors import DATATYPE_BYTES, TensorSpec
from sizewise.formats import dtypes
from sizewise.formats.confine import Source
from sizewise.formats.found import FormatError, Found, Weights, shown
from sizewise.formats.onnx_tensor import TensorReader
from sizewise.formats.wire import BYTES, FIXED32, VARINT, Field, Scanner, signed

MAX_SUBGRAPHS = 32
PLATFORM = "onnx_onnxv1"

# Field numbers of onnx.proto
_MODEL_GRAPH, _MODEL_OPSETS, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 8, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 1, 5, 11, 12, 15
_NODE_ATTRIBUTE, _NODE_DOMAIN, _FUNCTION_NODE, _FUNCTION_ATTRIBUTE = 5, 7, 7, 11
_TENSOR, _GRAPH, _FLOATS, _INTS, _STRINGS, _TENSORS, _GRAPHS, _SPARSE, _SPARSES = 5, 6, 7, 8, 9, 10, 11, 22, 23


def looks_like_onnx(source: Source) -> bool:
    """Whether the bytes are a ModelProto: ONNX has no magic number, so its fields have to add up and hold a graph."""
    try:
        numbers = {field.number for field in Scanner(source).fields(0, source.size)}
    except FormatError:
        return False
    return _MODEL_GRAPH in numbers and numbers <= {*range(1, 10), 14, 20, 25, 26}


def read_onnx(source: Source, folder: Path) -> Found:
    """What an ONNX model is and weighs; external data is looked for in ``folder`` and nowhere else."""
    reader = _ModelReader(source, folder)
    reader.read()
    outputs, refused = _servable(reader.outputs)
    inputs, refused_inputs = _servable(reader.inputs)
    notes = [f"output {shown(name)} is {what} and cannot be answered" for name, what in refused]
    notes += [f"input {shown(name)} is {what}: this model cannot be served" for name, what in refused_inputs]
    return Found(
        format="onnx",
        platform=PLATFORM,
        runtime=None if refused_inputs else "onnx",
        parameters=reader.weights.parameters,
        weight_bytes=reader.weights.by_datatype(),
        inputs=inputs,
        outputs=outputs,
        side_files=tuple(sorted(reader.tensors.locations)),
        notes=(*reader.notes, *notes),
    )


Value = tuple[str, str, tuple[int, ...] | None]
"""Name, datatype (or what it is instead of a tensor, in lower case) and shape (None when it is not declared)."""


def _servable(values: list[Value]) -> tuple[tuple[TensorSpec, ...], list[tuple[str, str]]]:
    """Tensors that the protocol can carry; and the others with what they are."""
    specs, refused = [], []
    for name, datatype, shape in values:
        if datatype in DATATYPE_BYTES:
            specs.append(TensorSpec(name=name, datatype=datatype, shape=(-1,) if shape is None else shape))
        else:
            refused.append((name, datatype))
    return tuple(specs), refused


class _ModelReader:
    def __init__(self, source: Source, folder: Path) -> None:
        self.scanner = Scanner(source)
        self.weights = Weights()
        self.tensors = TensorReader(self.scanner, folder, self.weights)
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.notes: list[str] = []

    def read(self) -> None:
        graphs = 0
        opsets = 0
        for field in self.scanner.fields(0, self.scanner.source.size):
            if field.number == _MODEL_GRAPH and field.wire == BYTES:
                graphs += 1
                self._main_graph(field)
            elif field.number == _MODEL_FUNCTIONS and field.wire == BYTES:
                self._function(field)
            elif field.number == _MODEL_TRAINING and field.wire == BYTES:
                for part in self._messages(field, (1, 2)):
                    self._graph(part, depth=1)
            elif field.number == _MODEL_OPSETS:
                opsets += 1
        if graphs != 1 or not opsets:
            raise FormatError(f"is not an ONNX model: it has {graphs} graphs and {opsets} operator sets")
        undeclared = [name for name, _, shape in (*self.inputs, *self.outputs) if shape is None]
        if undeclared:
            self.notes.append(f"no rank declared for {', '.join(map(shown, undeclared[:5]))}: shown as [-1]")

    def _messages(self, parent: Field, numbers: tuple[int, ...]) -> Iterator[Field]:
        for field in self.scanner.fields(parent.start, parent.end):
            if field.number in numbers and field.wire == BYTES:
                yield field

    def _main_graph(self, graph: Field) -> None:
        initialized = self._graph(graph, depth=0)
        for field in self._messages(graph, (_GRAPH_INPUT, _GRAPH_OUTPUT)):
            value = self._value(field)
            if field.number == _GRAPH_OUTPUT:
                self.outputs.append(value)
            elif value[0] not in initialized:
                # Before IR version 4 every initializer is listed as an input too
                self.inputs.append(value)
        if not self.outputs:
            raise FormatError("is not an ONNX model that computes anything: its graph has no outputs")

    def _graph(self, graph: Field, *, depth: int) -> set[str]:
        """Adds up the weights of a graph and all inside it; returns the names of its initializers."""
        if depth > MAX_SUBGRAPHS:
            raise FormatError(f"has graphs more than {MAX_SUBGRAPHS} deep in each other", "it is no usable model")
        names = set()
        for field in self._messages(graph, (_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE)):
            if field.number == _GRAPH_NODE:
                self._node(field, depth=depth)
            elif field.number == _GRAPH_INITIALIZER:
                names.add(self.tensors.add(field))
            else:
                names.add(self.tensors.add_sparse(field))
        return names

    def _function(self, function: Field) -> None:
        for field in self._messages(function, (_FUNCTION_NODE, _FUNCTION_ATTRIBUTE)):
            if field.number == _FUNCTION_NODE:
                self._node(field, depth=1)
            else:
                self._attribute(field, depth=1, weights=self.weights)

    def _node(self, node: Field, *, depth: int) -> None:
        lists, domain = Weights(), ""
        for field in self.scanner.fields(node.start, node.end):
            if field.number == _NODE_ATTRIBUTE and field.wire == BYTES:
                self._attribute(field, depth=depth, weights=lists)
            elif field.number == _NODE_DOMAIN and field.wire == BYTES:
                domain = self.scanner.text(field)
        # Lists of other operators are settings such as strides
        if domain == "ai.onnx.ml":
            self.weights.merge(lists)

    def _attribute(self, attribute: Field, *, depth: int, weights: Weights) -> None:
        at = attribute.start
        while at < attribute.end:
            for field in self.scanner.fields(at, attribute.end):
                at = field.end
                if field.number in (_FLOATS, _INTS) and field.wire in (FIXED32, VARINT):
                    count, at = self.scanner.run(field, attribute.end)
                    self._add_numbers(field.number, count + 1, weights)
                    break
                self._attribute_field(field, depth=depth, weights=weights)

    def _attribute_field(self, field: Field, *, depth: int, weights: Weights) -> None:
        if field.wire != BYTES:
            return
        if field.number in (_TENSOR, _TENSORS):
            self.tensors.add(field)
        elif field.number in (_SPARSE, _SPARSES):
            self.tensors.add_sparse(field)
        elif field.number in (_GRAPH, _GRAPHS):
            self._graph(field, depth=depth + 1)
        elif field.number == _FLOATS:
            self._add_numbers(_FLOATS, (field.end - field.start) // 4, weights)
        elif field.number == _INTS:
            self._add_numbers(_INTS, self.scanner.count_varints(field), weights)
        elif field.number == _STRINGS:
            weights.add("BYTES", 1, field.end - field.start)

    def _add_numbers(self, number: int, count: int, weights: Weights) -> None:
        weights.add("FP32" if number == _FLOATS else "INT64", count, count * (4 if number == _FLOATS else 8))

    def _value(self, value: Field) -> Value:
        name = ""
        result: tuple[str, tuple[int, ...] | None] = ("of an unknown type", None)
        for field in self.scanner.fields(value.start, value.end):
            if field.number == 1:
                name = self.scanner.text(field)
            elif field.number == 2 and field.wire == BYTES:
                result = self._type(field)
        return (name, *result)

    def _type(self, kind: Field) -> tuple[str, tuple[int, ...] | None]:
        others = {4: "a sequence", 5: "a map", 7: "an opaque value", 8: "a sparse tensor", 9: "optional"}
        for field in self.scanner.fields(kind.start, kind.end):
            if field.number in others:
                return others[field.number], None
            if field.number == 1 and field.wire == BYTES:
                return self._tensor_type(field)
        return "of an unknown type", None

    def _tensor_type(self, tensor: Field) -> tuple[str, tuple[int, ...] | None]:
        datatype, shape = "of an unknown type", None
        for field in self.scanner.fields(tensor.start, tensor.end):
            if field.number == 1 and field.wire == VARINT:
                datatype = dtypes.ONNX.get(field.value, f"of unknown datatype {field.value}")
            elif field.number == 2 and field.wire == BYTES:
                shape = tuple(self._dimension(part) for part in self._messages(field, (1,)))
        return datatype, shape

    def _dimension(self, dimension: Field) -> int:
        for field in self.scanner.fields(dimension.start, dimension.end):
            if field.number == 1 and field.wire == VARINT:
                size = signed(field.value)
                # Some exporters write -1 or 0 for a dimension that varies
                if size < -1 or size > 2**40:
                    raise FormatError(f"declares a dimension of {size}")
                return size if size > 0 else -1
        return -1
