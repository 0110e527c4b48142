"""Whether two copies of a model answer the same, on rows drawn at random with a fixed seed."""

import warnings
from typing import Any

import numpy as np

ROWS = 64
SEED = 20_250_101
_METHODS = ("predict", "predict_proba")


def answers_alike(first: Any, second: Any) -> tuple[int, str]:
    """Rows on which both gave equal bits, and a note when none could be asked.

    Raises ValueError when they differ.
    """
    reason = ""
    for rows in _inputs(first):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = _answers(first, rows)
            except Exception as error:
                reason = type(error).__name__
                continue
            given = _answers(second, rows)
        for method, answer in expected.items():
            if not _equal(answer, given[method]):
                raise ValueError(f"{method} of the skops file differs from the pickle's")
        return len(rows), ""
    return 0, f"answers could not be compared: the model takes none of our random rows ({reason})"


def _inputs(model: Any) -> list[Any]:
    """Rows of several kinds: not every model takes negative or broken numbers, some take texts."""
    draw = np.random.default_rng(SEED)
    texts = [" ".join(draw.choice(["good", "bad", "red", "sun", "a", "the"], 4)) for _ in range(ROWS)]
    features = getattr(model, "n_features_in_", None)
    if features is None:
        return [texts]
    table = draw.standard_normal((ROWS, int(features)))
    return [table, np.abs(table), draw.integers(0, 2, table.shape), texts]


def _answers(model: Any, rows: Any) -> dict[str, Any]:
    return {method: getattr(model, method)(rows) for method in _METHODS if hasattr(model, method)}


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(_equal(a, b) for a, b in zip(first, second, strict=True))
    one, other = np.asarray(first), np.asarray(second)
    if one.dtype.kind in "fc":
        return bool(np.array_equal(one, other, equal_nan=True))
    return bool(np.array_equal(one, other))
