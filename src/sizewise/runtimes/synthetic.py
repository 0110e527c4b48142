"""Inputs made from metadata alone: for measuring, warming up and self-checks."""

from collections.abc import Sequence

import numpy as np

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.oip.arrays import DTYPES, Array

SEED = 7
VARYING = 1
"""Taken for a dimension that varies and is neither the batch nor a sequence of tokens."""
SEQUENCE = 128
"""Taken for a varying dimension of integer inputs of two or more dimensions: token ids, masks, positions."""

_TOKENS = frozenset({"INT32", "INT64"})


def concrete_shape(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    """``spec`` with every dimension given. The first one is the batch where it varies.

    >>> concrete_shape(TensorSpec(name="ids", datatype="INT64", shape=(-1, -1)), 4)
    (4, 128)
    """
    filler = SEQUENCE if spec.datatype in _TOKENS and len(spec.shape) > 1 else VARYING
    rest = (filler if size < 0 else size for size in spec.shape[1:])
    return (batch if spec.shape[0] < 0 else spec.shape[0], *rest) if spec.shape else ()


def assumed(inputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Which varying dimensions are taken as what: figures hold for these sizes only."""
    said = []
    for spec in inputs:
        shape = concrete_shape(spec, 1)
        said += [
            f"input {spec.name}: dimension {i} varies, taken as {shape[i]}"
            for i, size in enumerate(spec.shape)
            if i > 0 and size < 0
        ]
    return tuple(said)


def synthetic(inputs: Sequence[TensorSpec], batch: int) -> dict[str, Array]:
    """The same arrays for the same arguments.

    Floats are drawn from the standard normal distribution, so that no branch of a tree is always the same; integers
    are 0 and 1, which every vocabulary has; BYTES are ``b"0"``, which reads as text and as a number.
    """
    random = np.random.default_rng(SEED)
    return {spec.name: _array(spec, concrete_shape(spec, batch), random) for spec in inputs}


def _array(spec: TensorSpec, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    dtype = DTYPES[spec.datatype]
    if spec.datatype == "BYTES":
        return np.full(shape, b"0", dtype=np.object_)
    if spec.datatype == "BF16":  # the upper half of a float32's bits
        bits: Array = random.standard_normal(shape, dtype=np.float32).view(np.uint32) >> np.uint32(16)
        return bits.astype(np.uint16)
    if dtype.kind == "f":
        wide: Array = random.standard_normal(shape, dtype=np.float64 if dtype.itemsize == 8 else np.float32)
        return wide.astype(dtype, copy=False)
    return random.integers(0, 2, shape).astype(dtype)
