"""XGBoost models in JSON and UBJSON: what they take and answer, and how many numbers they hold.

Source: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html
"""

import json
import re
from collections.abc import Mapping

from sizewise.core.tensors import TensorSpec
from sizewise.formats.confine import Source
from sizewise.formats.found import FormatError, Found, Weights, as_count, as_list, as_mapping
from sizewise.formats.ubj import Typed, read_ubj

JSON_MAX_BYTES = 16 * 1024**2
"""Larger JSON is read at its ends only: XGBoost writes what we need there."""
_TAIL_BYTES = 64 * 1024
_MAX_FEATURES = 2**31

# Numbers of a tree by what XGBoost keeps them as
_TREE_NUMBERS = {
    "FP32": ("base_weights", "leaf_weights", "loss_changes", "split_conditions", "sum_hessian"),
    "INT32": ("categories", "categories_nodes", "left_children", "parents", "right_children", "split_indices"),
    "INT64": ("categories_segments", "categories_sizes"),
    "UINT8": ("default_left", "split_type"),
}
_BYTES = {"FP32": 4, "INT32": 4, "INT64": 8, "UINT8": 1}

Json = Mapping[str, object]


def looks_like_json(source: Source) -> bool:
    start = source.read(0, min(source.size, 4096)).lstrip()
    return start.startswith(b"{") and b'"learner"' in start


def looks_like_ubj(source: Source) -> bool:
    start = source.read(0, min(source.size, 32))
    return start.startswith(b"{") and b"learner{" in start


def read_xgboost_json(source: Source) -> Found:
    if source.size > JSON_MAX_BYTES:
        return _read_ends(source)
    try:
        model = json.loads(source.read(0, source.size))
    except (ValueError, RecursionError) as error:
        raise FormatError("is cut off or damaged JSON", "copy it again, whole") from error
    return _found(as_mapping(model, "the model"), "xgboost_json")


def read_xgboost_ubj(source: Source) -> Found:
    return _found(as_mapping(read_ubj(source), "the model"), "xgboost_ubj")


def _found(model: Json, platform: str) -> Found:
    learner = as_mapping(model.get("learner"), "learner")
    if "version" not in model:
        raise FormatError("has no version, so XGBoost did not write it")
    weights = Weights()
    booster = as_mapping(learner.get("gradient_booster"), "gradient_booster")
    # Dropout trees wrap the usual ones
    inner = booster.get("gbtree")
    trees = as_mapping((as_mapping(inner, "gbtree") if inner is not None else booster).get("model"), "the booster")
    for tree in as_list(trees.get("trees", []), "the trees"):
        _add_tree(as_mapping(tree, "a tree"), weights)
    linear = trees.get("weights")
    if linear is not None:
        count = _length(linear)
        weights.add("FP32", count, count * 4)
    if "trees" not in trees and linear is None:
        raise FormatError("has neither trees nor weights")
    parameters = as_mapping(learner.get("learner_model_param"), "learner_model_param")
    objective = as_mapping(learner.get("objective"), "objective").get("name")
    return _described(parameters, objective=str(objective), platform=platform, weights=weights)


def _described(parameters: Json, *, objective: str, platform: str, weights: Weights | None, note: str = "") -> Found:
    features = as_count(parameters.get("num_feature"), "num_feature", most=_MAX_FEATURES)
    classes = as_count(parameters.get("num_class", "0"), "num_class", most=_MAX_FEATURES)
    targets = as_count(parameters.get("num_target", "1"), "num_target", most=_MAX_FEATURES)
    width = max(0 if objective == "multi:softmax" else classes, targets)
    if not features:
        raise FormatError("takes no features", "fit it before saving")
    return Found(
        format="xgboost",
        platform=platform,
        runtime="xgboost",
        parameters=weights.parameters if weights is not None else None,
        weight_bytes=weights.by_datatype() if weights is not None else (),
        inputs=(TensorSpec(name="input", datatype="FP32", shape=(-1, features)),),
        outputs=(TensorSpec(name="predict", datatype="FP32", shape=(-1, width) if width > 1 else (-1,)),),
        notes=(f"objective {objective[:60]}", *([note] if note else [])),
    )


def _add_tree(tree: Json, weights: Weights) -> None:
    nodes = _length(tree.get("left_children"))
    for key in ("right_children", "split_conditions", "split_indices"):
        if _length(tree.get(key)) != nodes:
            raise FormatError(f"has a tree of {nodes} nodes with {_length(tree.get(key))} {key}")
    for datatype, keys in _TREE_NUMBERS.items():
        count = sum(_length(tree[key]) for key in keys if key in tree)
        weights.add(datatype, count, count * _BYTES[datatype])


def _length(value: object) -> int:
    if isinstance(value, Typed):
        return value.count
    return len(as_list(value, "a list of numbers"))


def _read_ends(source: Source) -> Found:
    tail = source.read(source.size - _TAIL_BYTES, _TAIL_BYTES).decode("utf-8", "replace")
    if not tail.rstrip().endswith("}"):
        raise FormatError("is cut off: its JSON does not end", "copy it again, whole")
    parameters = re.search(r'"learner_model_param"\s*:\s*(\{[^{}]*\})', tail)
    objective = re.search(r'"objective"\s*:\s*\{.*?"name"\s*:\s*"([\w:]+)"', tail)
    if parameters is None or objective is None:
        raise FormatError("does not end as XGBoost's JSON does", "load it with xgboost and save it as .ubj")
    note = "JSON of this size is read at its end only: save it as .ubj to have its weights counted"
    return _described(
        json.loads(parameters.group(1)), objective=objective.group(1), platform="xgboost_json", weights=None, note=note
    )
