"""Every type and function that a pickle of scikit-learn names, joblib's included, without building any.

joblib puts the bytes of an array into the middle of the pickle, right behind the record that describes it: the scan
steps over them.
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Mapping
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from sizewise.formats.confine import Source
from sizewise.formats.found import FormatError, as_count, element_count, shown
from sizewise.formats.inert_pickle import Call, read_pickle

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ARRAY = "joblib.numpy_pickle.NumpyArrayWrapper"
MAX_UNPACKED_BYTES = 16 * 1024**3
_STEP_BYTES = 1024 * 1024


def open_pickle(source: Source) -> BinaryIO:
    """The pickle itself, whatever joblib compressed it with. Raises FormatError for a compression unknown here."""
    start = source.read(0, min(source.size, 6))
    stream = source.stream()
    if start.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.GzipFile(fileobj=stream))
    if start.startswith(b"BZh"):
        return cast("BinaryIO", bz2.BZ2File(stream))
    if start.startswith((b"\xfd7zXZ", b"\x5d\x00\x00")):
        return cast("BinaryIO", lzma.LZMAFile(stream))
    if start.startswith(b"\x04\x22\x4d\x18"):
        raise FormatError("is compressed by lz4", "save it again with joblib.dump(model, path, compress=('gzip', 3))")
    if start[:1] == b"\x78" and len(start) > 1 and int.from_bytes(start[:2], "big") % 31 == 0:
        return cast("BinaryIO", BufferedReader(_Zlib(stream)))
    return stream


def pickle_names(stream: BinaryIO) -> tuple[str, ...]:
    """Names in the order they are met. Raises FormatError for a pickle that is cut off, damaged or too large."""
    names: dict[str, None] = {}

    def skip_array(built: Call) -> None:
        if built.name == ARRAY:
            state = built.state if isinstance(built.state, dict) else {}
            if _has_objects(state.get("dtype")):
                # A pickle of its own stands where the bytes of other arrays are
                names.update(dict.fromkeys(pickle_names(stream)))
            else:
                _skip(stream, state)

    names.update(read_pickle(stream, on_build=skip_array).names)
    return tuple(names)


def _skip(stream: BinaryIO, state: Mapping[object, object]) -> None:
    if state.get("numpy_array_alignment_bytes") is not None:
        padding = stream.read(1)
        stream.read(padding[0] if padding else 0)
    shape = state.get("shape")
    if not isinstance(shape, tuple):
        raise FormatError("has an array without a shape")
    size = element_count(tuple(as_count(each, "a dimension") for each in shape)) * _dtype(state.get("dtype")).itemsize
    if size > MAX_UNPACKED_BYTES:
        raise FormatError(f"has an array of {size} bytes, more than {MAX_UNPACKED_BYTES}")
    while size:
        part = stream.read(min(size, _STEP_BYTES))
        if not part:
            raise FormatError("is cut off in the middle of an array", "copy it again, whole")
        size -= len(part)


def _dtype(described: object) -> np.dtype:
    """The plain dtype that a record describes; of a record type only its size counts here."""
    arguments = described.arguments if isinstance(described, Call) and described.name == "numpy.dtype" else ()
    text = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if not isinstance(text, str):
        raise FormatError("has an array without a datatype")
    try:
        return np.dtype(text)
    except TypeError as error:
        raise FormatError(f"has an array of the unknown datatype {shown(text)}") from error


def _has_objects(described: object) -> bool:
    if _dtype(described).hasobject:
        return True
    state = described.state if isinstance(described, Call) else None
    fields = state[4] if isinstance(state, tuple) and len(state) > 4 else None
    parts = fields.values() if isinstance(fields, dict) else ()
    return any(_has_objects(part[0]) for part in parts if isinstance(part, tuple) and part)


class _Zlib(RawIOBase):
    """A stream of zlib data, unpacked as it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._unpacker = zlib.decompressobj()
        self._at = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        data = b""
        while not data and not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._stream.read(65536)
            if not packed:
                raise FormatError("is cut off in the middle of its compressed data", "copy it again, whole")
            data = self._unpacker.decompress(packed, len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
