"""Rows on which a scikit-learn model and another form of it must agree: many scales, and both sides of every threshold.

Trees are where two forms differ first. scikit-learn rounds what it is given to float32 and compares that with a float64
threshold; whoever rounds the threshold instead, or nothing, turns the other way on values next to it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sizewise.protocols.oip.arrays import Array

SEED = 7
PLAIN_ROWS = 2000
SPLIT_ROWS = 8000
MOST_CELLS = 2_000_000
"""Wide models are asked about fewer rows."""
SCALES = (0.1, 1.0, 10.0, 1000.0)
DEPTH = 5
"""Of estimators within estimators."""


@dataclass(frozen=True, slots=True)
class _Split:
    """An inner node: where it looks, and between which values a row must lie in each feature to get there."""

    feature: int
    threshold: float
    within: Mapping[int, tuple[float, float]]


def check_rows(estimator: Any, width: int) -> Array:
    random = np.random.default_rng(SEED)
    most = max(100, MOST_CELLS // width)
    plain = random.standard_normal((min(PLAIN_ROWS, most), width))
    plain *= random.choice(SCALES, (len(plain), 1))
    rows = [plain, plain * 0.0]
    for mean, scale in _standards(estimator, width):
        rows.append(mean + scale * random.standard_normal(plain.shape))
    splits = list(_splits(estimator))
    if splits:
        chosen = [splits[i] for i in random.permutation(len(splits))[: min(SPLIT_ROWS, most)]]
        rows.append(_before_steps(estimator, _beside(chosen, width, random)))
    found = np.vstack(rows)
    known: Array = found[(np.abs(found) < np.finfo(np.float32).max).all(axis=1)]
    return known


def parts(estimator: Any, depth: int = DEPTH) -> Iterator[Any]:
    """The estimator and all within it, in the order in which they are kept."""
    yield estimator
    if depth:
        for value in vars(estimator).values() if hasattr(estimator, "__dict__") else ():
            for inner in _members(value):
                if type(inner).__module__.startswith("sklearn."):
                    yield from parts(inner, depth - 1)


def _members(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray):
        return value.reshape(-1).tolist() if value.dtype == np.object_ else []
    if isinstance(value, list | tuple):
        return [inner for each in value for inner in (each if isinstance(each, tuple) else (each,))]
    return [value]


def _standards(estimator: Any, width: int) -> Iterator[tuple[Array, Array]]:
    """What scalers have learned about the data: mean and spread of each feature."""
    for part in parts(estimator):
        mean, scale = getattr(part, "mean_", None), getattr(part, "scale_", None)
        if isinstance(mean, np.ndarray) and isinstance(scale, np.ndarray) and mean.shape == scale.shape == (width,):
            yield mean, scale


def _splits(estimator: Any) -> Iterator[_Split]:
    for part in parts(estimator):
        tree = getattr(part, "tree_", None)
        if tree is None:
            continue
        waiting: list[tuple[int, dict[int, tuple[float, float]]]] = [(0, {})]
        while waiting:
            node, within = waiting.pop()
            feature, threshold = int(tree.feature[node]), float(tree.threshold[node])
            if feature < 0:
                continue
            yield _Split(feature, threshold, within)
            low, high = within.get(feature, (-np.inf, np.inf))
            waiting.append((int(tree.children_left[node]), {**within, feature: (low, min(high, threshold))}))
            waiting.append((int(tree.children_right[node]), {**within, feature: (max(low, threshold), high)}))


def _beside(splits: list[_Split], width: int, random: np.random.Generator) -> Array:
    """A row for each that comes to its node, with a value at its threshold, or a step of either type beside it."""
    rows: Array = random.standard_normal((len(splits), width)) * random.choice(SCALES, (len(splits), 1))
    for i, split in enumerate(splits):
        for feature, (low, high) in split.within.items():
            above = float(np.nextafter(np.float32(low), np.float32(np.inf)))
            below = float(np.nextafter(np.float32(high), np.float32(-np.inf)))
            rows[i, feature] = min(max(rows[i, feature], above), below)
        single, way = np.float32(split.threshold), (-np.inf, np.inf)[int(random.integers(2))]
        near = (
            split.threshold,
            float(np.nextafter(split.threshold, way)),
            float(single),
            float(np.nextafter(single, np.float32(way))),
            split.threshold * (1 + 3e-8 * np.sign(way)),
        )
        rows[i, split.feature] = near[int(random.integers(len(near)))]
    return rows


def _before_steps(estimator: Any, rows: Array) -> Array:
    """What becomes these rows on its way through the steps before the last, where those can say."""
    for _, step in reversed(getattr(estimator, "steps", [])[:-1]):
        if not hasattr(step, "inverse_transform"):
            return rows
        rows = np.asarray(step.inverse_transform(rows))
    return rows
