"""ONNX files written layer by layer, so that a model larger than memory's comfort is never held twice."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

OPSET = 17
IR_VERSION = 8
EXTERNAL_NAME = "weights.bin"


def write_mlp(
    path: Path,
    layers: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    softmax: bool = False,
    scale: float = 1.0,
) -> None:
    """A multilayer perceptron with ReLU between ``layers`` of (weights[in, out], bias[out]), float32.

    Input ``x`` [-1, in] is multiplied by ``scale``; output ``y`` [-1, out].
    """
    from onnx import numpy_helper

    tensors = []
    for i, (weights, bias) in enumerate(layers):
        tensors.append(numpy_helper.from_array(weights.astype(np.float32), f"w{i}"))
        tensors.append(numpy_helper.from_array(bias.astype(np.float32), f"b{i}"))
    sizes = [layers[0][0].shape[0], *(weights.shape[1] for weights, _ in layers)]
    path.write_bytes(_graph(sizes, tensors, softmax=softmax, scale=scale))


def write_random_mlp(path: Path, sizes: Sequence[int], *, seed: int, external: bool = False) -> None:
    """The same with untrained weights; ``external`` puts them into a file of their own beside ``path``.

    With ``external``, weights go to disk one layer at a time: the peak is one layer, not one model.
    """
    from onnx import numpy_helper

    rng = np.random.default_rng(seed)
    tensors: list[Any] = []
    blob = (path.parent / EXTERNAL_NAME).open("wb") if external else None
    try:
        for i, (rows, columns) in enumerate(pairwise(sizes)):
            weights = rng.standard_normal((rows, columns), dtype=np.float32) / np.float32(np.sqrt(rows))
            if blob is None:
                tensors.append(numpy_helper.from_array(weights, f"w{i}"))
            else:
                tensors.append(_external(f"w{i}", weights.shape, offset=blob.tell(), length=weights.nbytes))
                blob.write(weights.tobytes())
            tensors.append(numpy_helper.from_array(np.zeros(columns, np.float32), f"b{i}"))
    finally:
        if blob is not None:
            blob.close()
    path.write_bytes(_graph(sizes, tensors))


def _external(name: str, shape: tuple[int, ...], *, offset: int, length: int) -> Any:
    from onnx import StringStringEntryProto, TensorProto

    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", EXTERNAL_NAME), ("offset", offset), ("length", length)):
        tensor.external_data.append(StringStringEntryProto(key=key, value=str(value)))
    return tensor


def _graph(sizes: Sequence[int], tensors: list[Any], *, softmax: bool = False, scale: float = 1.0) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    nodes, previous = [], "x"
    if scale != 1.0:
        tensors = [*tensors, numpy_helper.from_array(np.array(scale, np.float32), "scale")]
        nodes.append(helper.make_node("Mul", ["x", "scale"], ["scaled"]))
        previous = "scaled"
    count = len(sizes) - 1
    for i in range(count):
        last = i == count - 1
        name = ("logits" if softmax else "y") if last else f"h{i}"
        nodes.append(helper.make_node("Gemm", [previous, f"w{i}", f"b{i}"], [name]))
        if not last:
            nodes.append(helper.make_node("Relu", [name], [f"r{i}"]))
            previous = f"r{i}"
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["y"], axis=1))
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, sizes[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, sizes[-1]])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    serialized: bytes = model.SerializeToString()
    return serialized
