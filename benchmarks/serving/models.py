"""The models that all peers serve, written as ONNX files from a seed: what they weigh matters, not what they say."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from sizewise.demo.onnx_files import IR_VERSION, OPSET, write_random_mlp

SEED = 7
VOCABULARY, WIDTH, TOKENS = 20_000, 128, 128
TREES, DEPTH, COLUMNS = 500, 6, 100


def write_small(path: Path) -> None:
    """Logistic regression, 64 to 10."""
    write_random_mlp(path, (64, 10), seed=SEED)


def write_medium(path: Path) -> None:
    """29 MB of dense layers: the arithmetic decides, and batching pays."""
    write_random_mlp(path, (512, 2048, 2048, 1000), seed=SEED)


def write_image(path: Path) -> None:
    """Three convolutions over 224 x 224 x 3 bytes, as an image is decoded, then 1000 classes."""
    rng = np.random.default_rng(SEED)
    weights = {"share": np.array(1 / 255, np.float32)}
    channels = (3, 16, 32, 64)
    nodes = [
        helper.make_node("Cast", ["x"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "share"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["h0"], perm=[0, 3, 1, 2]),
    ]
    for i, (into, out) in enumerate(pairwise(channels)):
        weights[f"w{i}"] = _normal(rng, (out, into, 5, 5), fan_in=into * 25)
        nodes.append(helper.make_node("Conv", [f"h{i}", f"w{i}"], [f"c{i}"], strides=[4 if i == 0 else 2] * 2))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"h{i + 1}"]))
    weights["w"] = _normal(rng, (64, 1000), fan_in=64)
    nodes += [
        helper.make_node("GlobalAveragePool", ["h3"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    _save(path, nodes, weights, row=(TensorProto.UINT8, (224, 224, 3)), out=1000)


def write_tokens(path: Path) -> None:
    """128 tokens through an embedding and one transformer block, averaged, into two classes."""
    rng = np.random.default_rng(SEED)
    weights = {"table": _normal(rng, (VOCABULARY, WIDTH), fan_in=1), "root": np.array(WIDTH**-0.5, np.float32)}
    for name, shape in {"q": (WIDTH,) * 2, "k": (WIDTH,) * 2, "v": (WIDTH,) * 2, "up": (WIDTH, 512)}.items():
        weights[name] = _normal(rng, shape, fan_in=WIDTH)
    weights |= {"down": _normal(rng, (512, WIDTH), fan_in=512), "w": _normal(rng, (WIDTH, 2), fan_in=WIDTH)}
    nodes = [helper.make_node("Gather", ["table", "x"], ["e"])]
    nodes += [helper.make_node("MatMul", ["e", name], [f"e{name}"]) for name in "qkv"]
    nodes += [
        helper.make_node("Transpose", ["ek"], ["ekt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["eq", "ekt"], ["likeness"]),
        helper.make_node("Mul", ["likeness", "root"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["attention"], axis=-1),
        helper.make_node("MatMul", ["attention", "ev"], ["seen"]),
        helper.make_node("Add", ["e", "seen"], ["h"]),
        helper.make_node("MatMul", ["h", "up"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["active"]),
        helper.make_node("MatMul", ["active", "down"], ["narrow"]),
        helper.make_node("Add", ["h", "narrow"], ["block"]),
        helper.make_node("ReduceMean", ["block"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["y"]),
    ]
    _save(path, nodes, weights, row=(TensorProto.INT64, (TOKENS,)), out=2)


def write_trees(path: Path) -> None:
    """500 full trees of depth 6 over 100 columns, as boosting leaves them: one number a row."""
    rng = np.random.default_rng(SEED)
    inner, nodes = 2**DEPTH - 1, 2 ** (DEPTH + 1) - 1
    ids = np.arange(nodes)
    is_inner = ids < inner
    leaves = ids[~is_inner]
    tree = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=np.repeat(np.arange(TREES), nodes).tolist(),
        nodes_nodeids=np.tile(ids, TREES).tolist(),
        nodes_modes=(["BRANCH_LEQ"] * inner + ["LEAF"] * len(leaves)) * TREES,
        nodes_featureids=np.where(np.tile(is_inner, TREES), rng.integers(0, COLUMNS, TREES * nodes), 0).tolist(),
        nodes_values=np.where(np.tile(is_inner, TREES), rng.uniform(-1, 1, TREES * nodes), 0).tolist(),
        nodes_truenodeids=np.tile(np.where(is_inner, 2 * ids + 1, 0), TREES).tolist(),
        nodes_falsenodeids=np.tile(np.where(is_inner, 2 * ids + 2, 0), TREES).tolist(),
        target_treeids=np.repeat(np.arange(TREES), len(leaves)).tolist(),
        target_nodeids=np.tile(leaves, TREES).tolist(),
        target_ids=[0] * (TREES * len(leaves)),
        target_weights=rng.normal(0, 0.1, TREES * len(leaves)).tolist(),
    )
    _save(path, [tree], {}, row=(TensorProto.FLOAT, (COLUMNS,)), out=1)


WRITERS: dict[str, Callable[[Path], None]] = {
    "small": write_small,
    "medium": write_medium,
    "image": write_image,
    "tokens": write_tokens,
    "trees": write_trees,
}


def _normal(rng: np.random.Generator, shape: Sequence[int], *, fan_in: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(fan_in))


def _save(
    path: Path, nodes: list[Any], weights: dict[str, np.ndarray], *, row: tuple[int, Sequence[int]], out: int
) -> None:
    datatype, shape = row
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info("x", datatype, [None, *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, out])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())
