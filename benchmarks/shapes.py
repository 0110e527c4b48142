"""ONNX models of well-known shapes with random weights: what they compute is noise, what it costs is not."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sizewise.demo.onnx_files import IR_VERSION, OPSET

HEADS = 12
SEQUENCE = 128


class Graph:
    """Nodes and weights as they are added. Every method returns the name of what it computes."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def const(self, array: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def noise(self, *shape: int, scale: float = 0.02) -> str:
        return self.const((self.random.standard_normal(shape) * scale).astype(np.float32))

    def zeros(self, *shape: int) -> str:
        return self.const(np.zeros(shape, np.float32))

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        from onnx import helper

        names = [f"t{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def write(self, path: Path, *, x: tuple[Any, ...], y: tuple[Any, ...], result: str, tokens: bool = False) -> None:
        import onnx
        from onnx import TensorProto, helper

        self.nodes.append(helper.make_node("Identity", [result], ["y"]))
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info("x", TensorProto.INT64 if tokens else TensorProto.FLOAT, x)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, y)],
            self.weights,
        )
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION), str(path)
        )


def write_resnet50(path: Path) -> None:
    """``x`` [-1, 3, 224, 224]; 25.5 million parameters, batch normalization folded in."""
    graph = Graph(7)
    x, channels = _conv(graph, "x", (3, 64), kernel=7, stride=2), 64
    x = graph.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for blocks, width, first_stride in ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)):
        for i in range(blocks):
            stride = first_stride if i == 0 else 1
            out = 4 * width
            y = _conv(graph, x, (channels, width))
            y = _conv(graph, y, (width, width), kernel=3, stride=stride)
            y = _conv(graph, y, (width, out), relu=False)
            short = _conv(graph, x, (channels, out), stride=stride, relu=False) if i == 0 else x
            x, channels = graph.op("Relu", graph.op("Add", y, short)), out
    pooled = graph.op("Flatten", graph.op("GlobalAveragePool", x))
    result = graph.op("Gemm", pooled, graph.noise(2048, 1000), graph.zeros(1000))
    graph.write(path, x=(None, 3, 224, 224), y=(None, 1000), result=result)


def _conv(
    graph: Graph, x: str, channels: tuple[int, int], *, kernel: int = 1, stride: int = 1, relu: bool = True
) -> str:
    into, out = channels
    weights = graph.noise(out, into, kernel, kernel, scale=float(np.sqrt(1.0 / (into * kernel * kernel))))
    y: str = graph.op(
        "Conv",
        x,
        weights,
        graph.zeros(out),
        kernel_shape=[kernel, kernel],
        strides=[stride, stride],
        pads=[kernel // 2] * 4,
    )
    return str(graph.op("Relu", y)) if relu else y


def write_bert_base(path: Path, *, layers: int = 12, width: int = 768, vocabulary: int = 30_522) -> None:
    """``x`` [-1, 128] token ids to [-1, 128, 768]; 108 million parameters."""
    graph = Graph(7)
    x = graph.op("Gather", graph.noise(vocabulary, width), "x")
    x = _norm(graph, graph.op("Add", x, graph.noise(SEQUENCE, width)), width)
    for _ in range(layers):
        x = _norm(graph, graph.op("Add", _attention(graph, x, width), x), width)
        x = _norm(graph, graph.op("Add", _feed_forward(graph, x, width), x), width)
    graph.write(path, x=(None, SEQUENCE), y=(None, SEQUENCE, width), result=x, tokens=True)


def _linear(graph: Graph, x: str, into: int, out: int) -> str:
    return str(graph.op("Add", graph.op("MatMul", x, graph.noise(into, out)), graph.noise(out)))


def _norm(graph: Graph, x: str, width: int) -> str:
    ones = graph.const(np.ones(width, np.float32))
    return str(graph.op("LayerNormalization", x, ones, graph.zeros(width), axis=-1, epsilon=1e-12))


def _attention(graph: Graph, x: str, width: int) -> str:
    size = width // HEADS
    apart = graph.const(np.array([0, 0, HEADS, size], np.int64))
    query, key, value = (graph.op("Reshape", _linear(graph, x, width, width), apart) for _ in range(3))
    query = graph.op("Transpose", query, perm=[0, 2, 1, 3])
    key = graph.op("Transpose", key, perm=[0, 2, 3, 1])
    value = graph.op("Transpose", value, perm=[0, 2, 1, 3])
    scores = graph.op("Div", graph.op("MatMul", query, key), graph.const(np.array(np.sqrt(size), np.float32)))
    mixed = graph.op("Transpose", graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value), perm=[0, 2, 1, 3])
    joined = graph.op("Reshape", mixed, graph.const(np.array([0, 0, width], np.int64)))
    return _linear(graph, joined, width, width)


def _feed_forward(graph: Graph, x: str, width: int) -> str:
    """With GELU as exporters write it, so that the optimizer has what it finds elsewhere."""
    wide = _linear(graph, x, width, 4 * width)
    scaled = graph.op("Div", wide, graph.const(np.array(np.sqrt(2), np.float32)))
    share = graph.op("Add", graph.op("Erf", scaled), graph.const(np.array(1, np.float32)))
    half = graph.const(np.array(0.5, np.float32))
    return _linear(graph, graph.op("Mul", graph.op("Mul", wide, share), half), 4 * width, width)


def write_int8(path: Path, sizes: tuple[int, ...] = (1024, 4096, 4096, 4096, 4096, 1000)) -> None:
    """A multilayer perceptron with int8 weights and dynamically quantized activations, as exporters write it."""
    graph = Graph(7)
    x = "x"
    for i, (into, out) in enumerate(pairwise(sizes)):
        weights = graph.const(graph.random.integers(-127, 127, (into, out)).astype(np.int8))
        zero = graph.const(np.array(0, np.int8))
        scale = graph.const(np.array(0.02 / np.sqrt(into), np.float32))
        quantized, x_scale, x_zero = graph.op("DynamicQuantizeLinear", x, outputs=3)
        whole = graph.op("Cast", graph.op("MatMulInteger", quantized, weights, x_zero, zero), to=1)
        x = graph.op("Add", graph.op("Mul", whole, graph.op("Mul", x_scale, scale)), graph.zeros(out))
        x = x if i == len(sizes) - 2 else graph.op("Relu", x)
    graph.write(path, x=(None, sizes[0]), y=(None, sizes[-1]), result=x)
