"""Load-ready forms of scikit-learn models: the same model as an ONNX file, where it provably answers the same.

A process that runs it needs neither scikit-learn nor its 100 MB. Graphs are converted by skl2onnx for float64 inputs,
and mended where ONNX knows float32 only: what goes into trees is rounded as scikit-learn rounds it, and what comes out
is widened. Then it is held against the model on the rows of ``sklearn_rows``.
"""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sizewise.protocols.errors import ModelFileError
from sizewise.protocols.oip import RequestError
from sizewise.protocols.oip.arrays import Array
from sizewise.runtimes.base import LoadedModel, ModelFiles, one_line
from sizewise.runtimes.onnx_model import RUNTIME as ONNX
from sizewise.runtimes.sklearn_model import RUNTIME as SKLEARN
from sizewise.runtimes.sklearn_rows import check_rows, parts
from sizewise.runtimes.stand_in import REFUSALS

ENTRY = "model.onnx"
RTOL = 1e-5
ATOL = 2e-7
"""Of the largest value: what float32 can tell apart."""
MISSING_ATTRIBUTE = "nodes_missing_value_tracks_true"
KEPT = "it is served as it was deployed"
SHOWN = 3


def make_onnx(files: ModelFiles, target: Path) -> str:
    """Raises ModelFileError that says why it cannot be had."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # odd values are asked about on purpose
        return _made(files, target)


def _made(files: ModelFiles, target: Path) -> str:
    model = SKLEARN.load(files)
    inputs = model.signature.inputs
    if [spec.datatype for spec in inputs] != ["FP64"] or len(inputs[0].shape) != 2 or inputs[0].shape[1] < 1:
        raise ModelFileError(files.entry, "it takes something else than a table of numbers", KEPT)
    rows = check_rows(model.estimator, inputs[0].shape[1])
    refusals, accepted = _refusals(model, rows[:1])
    rows = np.vstack([rows, *_with(accepted, rows)])
    expected = _run(model, rows)
    _bound_thresholds(model.estimator)
    problems = []
    for double in (True, False):
        try:
            graph = _converted(model, double=double)
            _wrap(graph, model, double=double, expected=expected, refusals=refusals)
            (target / ENTRY).write_bytes(graph.SerializeToString())
            found = ONNX.load(_opens(files, target))
        except Exception as error:  # skl2onnx raises whatever its converters do
            problems.append(f"not convertible: {type(error).__name__}: {one_line(error, 160)}")
            continue
        problem = difference(expected, _run(found, rows), rows)
        if problem is None:
            return ENTRY
        problems.append(problem)
    raise ModelFileError(files.entry, f"it has no equal in ONNX: {problems[0]}", KEPT)


def _opens(files: ModelFiles, target: Path) -> ModelFiles:
    return ModelFiles(path=target, entry=ENTRY, threads=1, inputs=files.inputs, outputs=files.outputs)


def _run(model: LoadedModel, rows: Array) -> Mapping[str, Array]:
    return model.run({model.signature.inputs[0].name: rows}, ())


def difference(expected: Mapping[str, Array], found: Mapping[str, Array], rows: Array) -> str | None:
    """How ``found`` is another answer to ``rows``, in words; None where labels are equal and numbers close."""
    for name, mine in expected.items():
        other = found[name]
        if mine.shape != other.shape:
            return f"{name!r} has shape {list(other.shape)} and not {list(mine.shape)}"
        if mine.dtype.kind == "f":
            largest = float(np.abs(mine[np.isfinite(mine)]).max(initial=0.0))
            same = np.isclose(other, mine, rtol=RTOL, atol=ATOL * largest, equal_nan=True)
        else:
            same = mine.astype(other.dtype) == other
        if not same.all():
            at = np.argwhere(~same)
            values = ", ".join(f"{mine[tuple(i)]} became {other[tuple(i)]}" for i in at[:SHOWN])
            missing = " with values missing" if np.isnan(rows[at[:, 0]]).any(axis=1).all() else ""
            return f"{name!r} differs in {len(at)} of {mine.size} values{missing}: {values}"
    return None


def _refusals(model: LoadedModel, row: Array) -> tuple[dict[str, str], list[float]]:
    """In which words it refuses what, and which odd values it accepts."""
    refused, accepted = {}, []
    cases = {"empty": row[:0], **{kind: _set(row, value) for kind, value in _ODD.items()}}
    for kind, table in cases.items():
        try:
            _run(model, table)
            accepted += [_ODD[kind]] if kind in _ODD else []
        except RequestError as error:
            refused[kind] = str(error)
    return refused, accepted


_ODD = {"nan": np.nan, "inf": np.inf, "large": 1e300}


def _bound_thresholds(estimator: Any) -> None:
    """A split of missing values from all others has an infinite threshold, which skl2onnx would search for ever.

    The largest float32 parts the same: greater values are refused.
    """
    for part in parts(estimator):
        tree = getattr(part, "tree_", None)
        if tree is not None:
            tree.threshold[np.isposinf(tree.threshold)] = np.finfo(np.float32).max


def _set(row: Array, value: float) -> Array:
    odd = row.copy()
    odd[0, 0] = value
    return odd


def _with(accepted: list[float], rows: Array) -> Iterator[Array]:
    """Rows with missing and infinite values, where the model answers such."""
    random = np.random.default_rng(len(rows))
    for value in accepted:
        if not abs(value) < np.inf:
            odd = rows[random.integers(len(rows), size=min(2000, len(rows)))].copy()
            odd[random.random(odd.shape) < max(0.1, 1 / odd.shape[1])] = value
            yield odd


def _converted(model: Any, *, double: bool) -> Any:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    estimator, spec = model.estimator, model.signature.inputs[0]
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
    name, kind = (spec.name, DoubleTensorType) if double else (f"{spec.name}_float", FloatTensorType)
    return to_onnx(estimator, initial_types=[(name, kind([None, spec.shape[1]]))], options=options)


def _wrap(graph: Any, model: Any, *, double: bool, expected: Mapping[str, Array], refusals: dict[str, str]) -> None:
    """Inputs and outputs as the model has them, in its words."""
    from onnx import TensorProto, helper

    body, spec = graph.graph, model.signature.inputs[0]
    _mend_trees(body, _missing_left(model.estimator), double=double)
    if not double:
        body.node.insert(0, helper.make_node("Cast", [spec.name], [f"{spec.name}_float"], to=TensorProto.FLOAT))
        del body.input[:]
        body.input.append(helper.make_tensor_value_info(spec.name, TensorProto.DOUBLE, ["rows", spec.shape[1]]))
    produced = [output.name for output in body.output]
    del body.output[:], body.value_info[:]
    for name, source in zip(expected, produced, strict=False):
        array = expected[name]
        element = TensorProto.STRING if array.dtype.kind in "OUS" else helper.np_dtype_to_tensor_dtype(array.dtype)
        shape = helper.make_tensor(f"{name}_shape", TensorProto.INT64, [array.ndim], [-1, *array.shape[1:]])
        body.initializer.append(shape)
        last = name if element == TensorProto.STRING else f"{name}_shaped"
        body.node.append(helper.make_node("Reshape", [source, shape.name], [last]))
        if last != name:
            body.node.append(helper.make_node("Cast", [last], [name], to=element))
        body.output.append(helper.make_tensor_value_info(name, element, ["rows", *array.shape[1:]]))
    helper.set_model_props(graph, {REFUSALS: orjson.dumps(refusals).decode()})


def _mend_trees(body: Any, missing_left: list[Array], *, double: bool) -> None:
    """Trees see float32, as scikit-learn has them see; scores come out as the float64 that others go on with."""
    from onnx import TensorProto, helper

    nodes = list(body.node)
    trees = [node for node in nodes if node.op_type in {"TreeEnsembleClassifier", "TreeEnsembleRegressor"}]
    for i, node in enumerate(trees):
        if len(trees) == 1:
            _follow_missing(node, missing_left)
        if double:
            seen, scores = f"tree{i}_seen", node.output[-1]
            node_input, node.input[0], node.output[-1] = node.input[0], f"{seen}_double", f"tree{i}_scores"
            at = next(j for j, each in enumerate(nodes) if each is node)
            nodes[at : at + 1] = [
                helper.make_node("Cast", [node_input], [seen], to=TensorProto.FLOAT),
                helper.make_node("Cast", [seen], [f"{seen}_double"], to=TensorProto.DOUBLE),
                node,
                helper.make_node("Cast", [f"tree{i}_scores"], [scores], to=TensorProto.DOUBLE),
            ]
    del body.node[:]
    body.node.extend(nodes)


def _missing_left(estimator: Any) -> list[Array]:
    """For each tree and node: whether a missing value goes to the left, that is where the comparison holds."""
    trees = [part.tree_ for part in parts(estimator) if hasattr(part, "tree_")]
    return [tree.__getstate__()["nodes"]["missing_go_to_left"] for tree in trees]


def _follow_missing(node: Any, missing_left: list[Array]) -> None:
    """skl2onnx lets missing values go to the right always."""
    from onnx import helper

    given = {each.name: each for each in node.attribute}
    places = list(zip(given["nodes_treeids"].ints, given["nodes_nodeids"].ints, strict=True))
    if len(places) != sum(map(len, missing_left)):
        return  # not the trees that these are; the check decides
    ways = [int(missing_left[tree][inner]) for tree, inner in places]
    kept = [each for each in node.attribute if each.name != MISSING_ATTRIBUTE]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(MISSING_ATTRIBUTE, ways)])
