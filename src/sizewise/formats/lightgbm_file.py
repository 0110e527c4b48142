"""LightGBM models in its text format: header lines, then trees whose sizes in bytes the header lists.

Source: LightGBM 4.7, src/boosting/gbdt_model_text.cpp.
"""

import re

from sizewise.core.tensors import TensorSpec
from sizewise.formats.confine import Source
from sizewise.formats.found import FormatError, Found, Weights, as_count

HEADER_MAX_BYTES = 64 * 1024**2
_TREE_HEAD_BYTES = 64
_MAX_FEATURES = 2**31
_END = b"end of trees"
_SETTINGS, _SETTINGS_END = b"\nparameters:", b"\nend of parameters"
_TAIL_MAX_BYTES = 64 * 1024**2

# Numbers that LightGBM keeps for a tree: of each leaf, and of each inner node
_PER_LEAF = {"FP64": 2, "INT32": 2}
_PER_NODE = {"FP64": 3, "FP32": 1, "INT32": 6, "INT8": 1}
_BYTES = {"FP64": 8, "FP32": 4, "INT32": 4, "INT8": 1}


def looks_like_lightgbm(source: Source) -> bool:
    return source.read(0, min(source.size, 16)).startswith((b"tree\nversion=", b"tree\r\nversion="))


def read_lightgbm(source: Source) -> Found:
    lines, end = _header(source)
    features = as_count(lines.get("max_feature_idx"), "max_feature_idx", most=_MAX_FEATURES) + 1
    classes = as_count(lines.get("num_class", "1"), "num_class", most=_MAX_FEATURES)
    per_iteration = as_count(lines.get("num_tree_per_iteration", "1"), "num_tree_per_iteration", most=_MAX_FEATURES)
    objective = lines.get("objective", "")
    width = max(classes, per_iteration)
    weights, trees_end = _trees(source, lines.get("tree_sizes"), end)
    _check_settings(source, trees_end)
    return Found(
        format="lightgbm",
        platform="lightgbm_text",
        runtime="lightgbm",
        parameters=weights.parameters,
        weight_bytes=weights.by_datatype(),
        inputs=(TensorSpec(name="input", datatype="FP64", shape=(-1, features)),),
        outputs=(TensorSpec(name="predict", datatype="FP64", shape=(-1, width) if width > 1 else (-1,)),),
        notes=(f"objective {objective.split(' ')[0][:60] or 'of its own'}",),
    )


def _header(source: Source) -> tuple[dict[str, str], int]:
    """Lines before the first tree, and where that begins. A wide header (many features) is read in steps."""
    step = 64 * 1024
    while True:
        head = source.read(0, min(step, source.size))
        found = re.search(rb"\r?\n\r?\n(?=Tree=0|end of trees)", head)
        if found is not None:
            break
        if step >= min(source.size, HEADER_MAX_BYTES):
            raise FormatError("is cut off: no trees follow its header", "copy it again, whole")
        step *= 4
    lines = dict(line.partition("=")[::2] for line in head[: found.start()].decode("utf-8", "replace").splitlines())
    return {key: value.strip() for key, value in lines.items()}, found.end()


def _trees(source: Source, sizes: str | None, start: int) -> tuple[Weights, int]:
    """Leaves and nodes of every tree, from the first bytes of each; and where the last one ends."""
    if sizes is None:
        raise FormatError("has no tree_sizes", "save it again with LightGBM 2.1 or later")
    weights, at = Weights(), start
    for text in sizes.split():
        size = as_count(text, "the size of a tree")
        head = source.read(at, min(_TREE_HEAD_BYTES, size))
        found = re.match(rb"Tree=\d+\s+num_leaves=(\d{1,9})\s", head)
        if found is None:
            raise FormatError(f"has a damaged tree at byte {at}")
        _add_tree(int(found.group(1)), weights, size)
        at += size
    if source.read(at, len(_END)) != _END:
        raise FormatError(f"is damaged: its trees do not end at byte {at}", "copy it again, whole")
    return weights, at


def _check_settings(source: Source, start: int) -> None:
    """Settings follow the trees, or nothing does. LightGBM reads beyond the end of those that are cut off."""
    tail = source.read(start, min(source.size - start, _TAIL_MAX_BYTES)).replace(b"\r\n", b"\n")
    if len(tail) < _TAIL_MAX_BYTES and _SETTINGS in tail and _SETTINGS_END not in tail:
        raise FormatError("is cut off: its parameters do not end", "copy it again, whole")


def _add_tree(leaves: int, weights: Weights, size: int) -> None:
    # Each leaf has a value of its own in the text, two bytes at least
    if not leaves or leaves * 2 > size:
        raise FormatError(f"has a tree of {leaves} leaves in {size} bytes")
    for per, count in ((_PER_LEAF, leaves), (_PER_NODE, leaves - 1)):
        for datatype, each in per.items():
            weights.add(datatype, each * count, each * count * _BYTES[datatype])
