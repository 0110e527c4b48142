"""Tensors to numpy arrays, one call's inputs at a time."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.oip.request import Tensor

Array = NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
    "BYTES": np.dtype("O"),
}
"""numpy has no bfloat16: BF16 is carried as its bits in uint16, and a runtime that takes it looks at them anew."""

DATATYPES: dict[np.dtype[Any], str] = {dtype: name for name, dtype in DTYPES.items() if name != "BF16"}


def gather(tensors: Sequence[Tensor], spec: TensorSpec | None = None) -> Array:
    """Tensors of one datatype and equal trailing dimensions as one array, rows after rows.

    One tensor of raw bytes is not copied, so the array may be read-only. BYTES are objects of type bytes. ``spec``
    converts to the datatype of a casting runtime.
    """
    first = tensors[0]
    shape = first.shape
    if len(tensors) > 1:
        shape = (sum(tensor.shape[0] for tensor in tensors), *shape[1:])
    if first.datatype == "BYTES":
        return _objects(tensors, shape)
    data = first.data if len(tensors) == 1 else b"".join(tensor.data for tensor in tensors)  # type: ignore[misc]
    array: Array = np.frombuffer(data, DTYPES[first.datatype]).reshape(shape)  # type: ignore[arg-type]
    if not array.flags.aligned:
        # Tensors follow a JSON part of any length; native code may demand aligned elements
        array = array.copy()
    if spec is None or spec.datatype in {first.datatype, "BYTES"}:
        return array
    return cast(array, first.datatype, spec.datatype)


def _objects(tensors: Sequence[Tensor], shape: tuple[int, ...]) -> Array:
    elements = list(chain.from_iterable(tensor.data for tensor in tensors))
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array.reshape(shape)


def cast(array: Array, datatype: str, wanted: str) -> Array:
    """Values as another datatype; BF16 by its bits."""
    if datatype == "BF16":
        array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if wanted == "BF16":
        return (array.astype(np.float32).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(DTYPES[wanted])
