"""Inputs made from metadata."""

import numpy as np
import pytest

from sizewise.core.tensors import DATATYPE_BYTES, TensorSpec
from sizewise.protocols.oip.arrays import DTYPES
from sizewise.runtimes.synthetic import assumed, concrete_shape, synthetic


def spec(datatype: str, *shape: int) -> TensorSpec:
    return TensorSpec(name="x", datatype=datatype, shape=shape)


@pytest.mark.parametrize(
    ("tensor", "shape"),
    [
        pytest.param(spec("FP32", -1, 4), (8, 4), id="batch"),
        pytest.param(spec("FP32", 1, 4), (1, 4), id="a fixed batch stays"),
        pytest.param(spec("FP32", -1, 3, -1, -1), (8, 3, 1, 1), id="varying floats: 1"),
        pytest.param(spec("INT64", -1, -1), (8, 128), id="tokens: 128"),
        pytest.param(spec("INT64", -1), (8,), id="one number a row is no sequence"),
        pytest.param(spec("FP32"), (), id="a scalar"),
    ],
)
def test_shapes(tensor: TensorSpec, shape: tuple[int, ...]) -> None:
    assert concrete_shape(tensor, 8) == shape


@pytest.mark.parametrize("datatype", DATATYPE_BYTES)
def test_every_datatype_can_be_made_and_repeats(datatype: str) -> None:
    inputs = (spec(datatype, -1, 3),)
    first, again = synthetic(inputs, 4)["x"], synthetic(inputs, 4)["x"]
    assert first.dtype == DTYPES[datatype]
    assert first.shape == (4, 3)
    assert np.array_equal(first, again)


def test_what_was_assumed_is_said() -> None:
    inputs = (spec("INT64", -1, -1), spec("FP32", -1, 4))
    assert assumed(inputs) == ("input x: dimension 1 varies, taken as 128",)
