"""Decision trees inside scikit-learn files: every index must lead somewhere.

scikit-learn follows the indices of a loaded tree without checking them, so a crafted file could read foreign memory
or never come back (https://github.com/scikit-learn/scikit-learn/pull/34558); skops leaves this to whoever trusts
``sklearn.tree._tree.Tree``, and we do.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from sizewise.formats.archive import Archive
from sizewise.formats.found import FormatError, UnsafeError
from sizewise.formats.npy import Array

_LEAF = -1


def check_trees(archive: Archive, arrays: Mapping[str, Array], root: Mapping[str, object]) -> None:
    """Raises UnsafeError for a tree whose children or features are out of range or lead back."""
    for node, features in _trees(root):
        file = _path(node, "content", "content", "nodes", "file")
        if not isinstance(file, str) or file not in arrays:
            raise FormatError("has a decision tree without its nodes")
        nodes = _load(archive, file, arrays[file])
        if node.get("__loader__") == "TreeNode":
            _check_tree(nodes, features=features)
        else:
            bitsets = arrays.get(str(_path(node, "content", "content", "raw_left_cat_bitsets", "file")))
            _check_predictor(nodes, features=features, bitsets=bitsets.shape[0] if bitsets and bitsets.shape else 0)


def _trees(root: Mapping[str, object]) -> Iterator[tuple[Mapping[str, object], int]]:
    """Every tree with the number of features that the estimator around it checks its input for.

    Forests hand their input to their trees unchecked, so theirs counts too; the input of a tree that stands in any
    other estimator is checked by the tree's own.
    """
    waiting: list[tuple[object, int | None]] = [(root, None)]
    while waiting:
        value, features = waiting.pop()
        if isinstance(value, list):
            waiting.extend((each, features) for each in value)
        if not isinstance(value, dict):
            continue
        name = str(value.get("__class__"))
        if value.get("__loader__") == "TreeNode" or name == "TreePredictor":
            if features is None:
                raise FormatError("has a decision tree in an estimator that was not fitted")
            yield value, features
        elif value.get("__loader__") == "ObjectNode":
            own = _number(_path(value, "content", "content", "n_features_in_", "content"))
            is_tree = name.startswith(("DecisionTree", "ExtraTreeC", "ExtraTreeR"))
            features = min((each for each in (own, features if is_tree else None) if each is not None), default=None)
        waiting.extend((each, features) for each in value.values())


def _load(archive: Archive, file: str, array: Array) -> np.ndarray:
    data = archive.read(file, array.header_bytes + array.data_bytes)
    return np.frombuffer(data, array.dtype, offset=array.header_bytes)


def _check_tree(nodes: np.ndarray, *, features: int) -> None:
    names = nodes.dtype.names or ()
    if not {"left_child", "right_child", "feature"} <= set(names):
        raise FormatError("has a decision tree with unknown nodes")
    left, right = nodes["left_child"].astype(np.int64), nodes["right_child"].astype(np.int64)
    inner = left != _LEAF
    _check_children(left[inner], right[inner], np.flatnonzero(inner), count=nodes.size)
    _check_features(nodes["feature"].astype(np.int64)[inner], features)


def _check_features(feature: np.ndarray, features: int) -> None:
    if feature.size and (feature.min() < 0 or feature.max() >= features):
        raise UnsafeError("has a decision tree that asks for a feature that it does not have")


def _check_predictor(nodes: np.ndarray, *, features: int, bitsets: int) -> None:
    """Histogram-based boosting keeps its trees in records of another kind."""
    if not {"left", "right", "is_leaf", "feature_idx", "is_categorical", "bitset_idx"} <= set(nodes.dtype.names or ()):
        raise FormatError("has a boosted tree with unknown nodes")
    inner = nodes["is_leaf"] == 0
    _check_features(nodes["feature_idx"].astype(np.int64)[inner], features)
    categorical = inner & (nodes["is_categorical"] != 0)
    if categorical.any() and int(nodes["bitset_idx"][categorical].max()) >= bitsets:
        raise UnsafeError("has a boosted tree that asks for categories that it does not have")
    left, right = nodes["left"].astype(np.int64)[inner], nodes["right"].astype(np.int64)[inner]
    _check_children(left, right, np.flatnonzero(inner), count=nodes.size)


def _check_children(left: np.ndarray, right: np.ndarray, parents: np.ndarray, *, count: int) -> None:
    # Trees are stored parent first, so a child at or before its parent is a loop
    for children in (left, right):
        if children.size and ((children <= parents).any() or children.max() >= count):
            raise UnsafeError("has a decision tree whose branches lead outside it or back")


def _path(value: object, *keys: str | int) -> object:
    for key in keys:
        if isinstance(key, int):
            value = value[key] if isinstance(value, list) and key < len(value) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


def _number(text: object) -> int | None:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10 else None
