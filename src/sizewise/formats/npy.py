"""Headers of numpy's own files. Source: numpy.lib.format, versions 1.0 to 3.0."""

import ast
import struct
from collections import Counter
from dataclasses import dataclass

import numpy as np

from sizewise.formats import dtypes
from sizewise.formats.found import FormatError, UnsafeError, Weights, element_count, shown

HEAD_BYTES = 16 * 1024
_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    dtype: np.dtype
    shape: tuple[int, ...]
    header_bytes: int

    @property
    def elements(self) -> int:
        return element_count(self.shape)

    @property
    def data_bytes(self) -> int:
        return self.elements * self.dtype.itemsize

    def add_to(self, weights: Weights) -> None:
        """A record array weighs its fields, each by its own datatype."""
        for datatype, (count, size) in _parts(self.dtype).items():
            weights.add(datatype, count * self.elements, size * self.elements)


def read_header(head: bytes, *, size: int, name: str) -> Array:
    """The array that starts with ``head`` and has ``size`` bytes in all.

    Raises UnsafeError for an array of Python objects (a pickle) and FormatError where the sizes do not agree.
    """
    if head[:6] != _MAGIC or len(head) < 12:
        raise FormatError(f"has a member {shown(name)} that is not a numpy array")
    if head[6] == 1:
        length, start = struct.unpack_from("<H", head, 8)[0], 10
    else:
        length, start = struct.unpack_from("<I", head, 8)[0], 12
    if start + length > len(head):
        raise FormatError(f"has a numpy array {shown(name)} with a header of {length} bytes")
    try:
        header = ast.literal_eval(head[start : start + length].decode("latin1").strip())
        dtype, shape = np.dtype(header["descr"]), header["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise FormatError(f"has a numpy array {shown(name)} with a damaged header") from error
    if dtype.hasobject:
        raise UnsafeError(f"has a numpy array {shown(name)} of Python objects, which is a pickle")
    if not isinstance(shape, tuple):
        raise FormatError(f"has a numpy array {shown(name)} with a damaged shape")
    array = Array(dtype=dtype, shape=shape, header_bytes=start + length)
    if array.header_bytes + array.data_bytes != size:
        raise FormatError(f"has a numpy array {shown(name)} of {array.data_bytes} bytes in a member of {size}")
    return array


def _parts(dtype: np.dtype) -> dict[str, tuple[int, int]]:
    """Elements and bytes of one item, by datatype."""
    if dtype.fields is None:
        base = dtype.base
        count = dtype.itemsize // base.itemsize if base.itemsize else 1
        return {datatype_of(base): (count, dtype.itemsize)}
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for inner, *_ in dtype.fields.values():
        if inner.kind == "V" and inner.fields is None and inner.subdtype is None:
            continue  # bytes that only keep fields aligned
        for datatype, (count, size) in _parts(inner).items():
            counts[datatype] += count
            sizes[datatype] += size
    return {datatype: (counts[datatype], sizes[datatype]) for datatype in counts}


def datatype_of(dtype: np.dtype) -> str:
    """In words of the protocol; texts and everything that it does not know are BYTES."""
    return dtypes.NUMPY.get(f"{dtype.kind}{dtype.itemsize}", "BYTES")
