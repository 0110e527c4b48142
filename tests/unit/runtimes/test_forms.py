"""When two answers count as the same."""

from typing import Any

import numpy as np
import pytest

from sizewise.runtimes.forms import alike


def floats(*values: float) -> Any:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("mine", "other", "same"),
    [
        pytest.param(floats(1, 2), floats(1, 2), True, id="equal"),
        pytest.param(floats(1, 2), floats(1.000009, 2), True, id="within the share"),
        pytest.param(floats(1, 2), floats(1.00002, 2), False, id="beyond the share"),
        pytest.param(floats(1e-9, 0.5), floats(9e-7, 0.5), True, id="near zero: within what is absolute"),
        pytest.param(floats(1e-9, 0.5), floats(1.2e-6, 0.5), False, id="near zero: beyond it"),
        pytest.param(floats(0, 100), floats(9e-5, 100), True, id="near zero beside large ones: within"),
        pytest.param(floats(0, 100), floats(2e-4, 100), False, id="near zero beside large ones: beyond"),
        pytest.param(floats(np.nan, np.inf), floats(np.nan, np.inf), True, id="NaN and infinity as they are"),
        pytest.param(floats(np.nan, 1), floats(0, 1), False, id="a number for NaN"),
        pytest.param(
            np.array([1], np.float16), np.array([1.001], np.float16), False, id="half precision: one step is too far"
        ),
        pytest.param(
            np.array([7], np.uint8),
            np.array([8], np.uint8),
            False,
            id="a label or a quantized value: one step is too far",
        ),
        pytest.param(np.array([7], np.uint8), np.array([7], np.uint8), True, id="equal integers"),
        pytest.param(floats(1), np.array([1], np.float64), False, id="another dtype"),
        pytest.param(floats(1), floats(1, 1), False, id="another shape"),
        pytest.param(floats(1), None, False, id="missing"),
        pytest.param(np.array([b"a"]), np.array(["a"]), False, id="bytes for text"),
        pytest.param(np.array(["a"]), np.array(["a"], np.object_), True, id="the same text"),
    ],
)
def test_alike(mine: Any, other: Any, *, same: bool) -> None:
    assert alike(mine, other) is same
