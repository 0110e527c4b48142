"""Elements of tensors: from JSON or raw bytes to checked little-endian bytes. One set of rules for every encoding."""

import struct
from itertools import chain
from math import prod
from typing import Any, NamedTuple

from sizewise.core.tensors import DATATYPE_BYTES, TensorSpec
from sizewise.protocols.oip.errors import RequestError, shown
from sizewise.protocols.oip.request import Data, Signature, Tensor

# struct checks type and range of every element in C, refuses floats where integers belong, and needs no numpy
FORMATS = {
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
BINARY_ONLY = frozenset({"FP16", "BF16"})
"""They have no agreed JSON form."""
NUMERIC = frozenset(DATATYPE_BYTES) - {"BYTES", "BOOL"}
MAX_RANK = 32
LENGTH_BYTES = 4
"""Each BYTES element is preceded by its length."""
_LENGTH = struct.Struct("<I")
_BOOL = frozenset({bool})
_INT = frozenset({int})
MAX_HEADS = 256
"""Heads remembered for each model."""


class Packed(NamedTuple):
    """Elements of an input that are checked and packed already: ``quick`` makes them."""

    elements: int
    data: memoryview


def check_spec(name: str, datatype: str, shape: tuple[int, ...], *, signature: Signature) -> None:
    """Name, datatype, rank and fixed dimensions against the model. Raises RequestError."""
    spec = signature.by_name.get(name)
    if spec is None:
        if signature.inputs:
            raise RequestError(f"unknown input {shown(name)}: this model takes {names(signature.inputs)}")
        return
    if datatype != spec.datatype and not (signature.casts and datatype in NUMERIC and spec.datatype in NUMERIC):
        raise RequestError(f"input {shown(name)} is {shown(datatype)}: this model takes {spec.datatype}")
    if not spec.accepts(shape):
        raise RequestError(f"input {shown(name)} has shape {list(shape)[:MAX_RANK]}: {_expected(spec, shape)}")


def _expected(spec: TensorSpec, shape: tuple[int, ...]) -> str:
    want = f"this model takes {list(spec.shape)}"
    return want if len(shape) == len(spec.shape) else f"{want}, rank {len(spec.shape)} and not {len(shape)}"


def names(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(repr(spec.name) for spec in specs)


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """A list of whole numbers that are not negative, with at least one row; nothing is allocated from it."""
    if type(shape) is not list or len(shape) > MAX_RANK:
        raise RequestError(f"input {shown(name)}: shape must be a list of at most {MAX_RANK} whole numbers")
    for size in shape:
        if type(size) is not int or size < 0:
            raise RequestError(f"input {shown(name)}: shape has {shown(size)}: dimensions are whole numbers from 0")
    if shape and shape[0] == 0:
        raise RequestError(f"input {shown(name)} has no rows: send at least one")
    return tuple(shape)


def checked_head(name: str, datatype: Any, *, shape: Any, signature: Signature) -> tuple[tuple[int, ...], int]:
    """The shape of an input and its number of elements, once name, datatype and shape fit the model."""
    plain = type(shape) is list and type(datatype) is str and _INT.issuperset(map(type, shape))
    if plain:
        key = (name, datatype, *shape)
        count = signature.heads.get(key)
        if count is not None:
            return key[2:], count
    if type(datatype) is not str or datatype not in DATATYPE_BYTES:
        raise RequestError(f"input {shown(name)}: datatype {shown(datatype)} is not one of {', '.join(DATATYPE_BYTES)}")
    sizes = check_shape(name, shape)
    check_spec(name, datatype, sizes, signature=signature)
    count = prod(sizes)
    if signature.inputs and len(signature.heads) < MAX_HEADS:
        signature.heads[name, datatype, *sizes] = count
    return sizes, count


def from_json(name: str, datatype: str, *, shape: tuple[int, ...], count: int, data: Any, bools: bool = True) -> Tensor:
    """A tensor from flat or nested JSON values of exactly ``count`` elements, the product of ``shape``."""
    packed = type(data) is Packed
    if not packed and type(data) is not list:
        raise RequestError(f"input {shown(name)}: data must be a list, not {shown(data)}")
    if not packed and data and type(data[0]) is list:
        data = flatten(name, data, shape)
    have = data.elements if packed else len(data)
    if have != count:
        raise RequestError(f"input {shown(name)} has {have} elements: shape {list(shape)} needs {shown(count)}")
    return Tensor(name, datatype, shape, data.data if packed else pack(name, datatype, data, bools=bools))


def flatten(name: str, data: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """Row-major elements of lists nested exactly as ``shape`` says."""
    level: list[Any] = [data]
    for axis, size in enumerate(shape):
        for part in level:
            if type(part) is not list or len(part) != size:
                have = f"{len(part)} elements" if type(part) is list else f"{shown(part)}"
                raise RequestError(
                    f"input {shown(name)}: nested data has {have} in dimension {axis}, shape says {size}"
                )
        level = list(chain.from_iterable(level))
    return level


def pack(name: str, datatype: str, data: list[Any], *, bools: bool) -> Data:
    """Checked elements as bytes. Without ``bools`` none of them is true or false."""
    code = FORMATS.get(datatype)
    if code is not None:
        # struct would take them for 1 and 0
        if bools and bool in set(map(type, data)):
            raise RequestError(f"input {shown(name)}: {datatype} takes numbers, not true or false")
        try:
            return struct.pack(f"<{len(data)}{code}", *data)
        except (struct.error, OverflowError) as error:
            raise _bad_element(name, datatype, data) from error
    if datatype == "BOOL":
        if data and set(map(type, data)) != _BOOL:
            raise _bad_element(name, datatype, data)
        return bytes(data)
    if datatype == "BYTES":
        if data and set(map(type, data)) != {str}:
            raise _bad_element(name, datatype, data)
        return [text.encode() for text in data]
    raise RequestError(f"input {shown(name)}: {datatype} has no JSON form, send it as binary data")


def _bad_element(name: str, datatype: str, data: list[Any]) -> RequestError:
    """Which element it was; looked for only after one is known to be wrong."""
    for index, value in enumerate(data):
        if not _fits(datatype, value):
            return RequestError(f"input {shown(name)}: element {index} is {shown(value)}, which is not {datatype}")
    return RequestError(f"input {shown(name)}: an element is not {datatype}")


def _fits(datatype: str, value: Any) -> bool:
    if datatype in {"BOOL", "BYTES"}:
        return type(value) is (bool if datatype == "BOOL" else str)
    try:
        struct.pack(f"<{FORMATS[datatype]}", value)
    except (struct.error, OverflowError):
        return False
    return type(value) is not bool


def from_binary(name: str, datatype: str, *, shape: tuple[int, ...], count: int, data: memoryview) -> Tensor:
    """A tensor over raw bytes, without a copy. Raises RequestError when the bytes are not what the shape needs."""
    size = DATATYPE_BYTES[datatype]
    if size is None:
        return Tensor(name, datatype, shape, _split_bytes(name, data, count))
    if len(data) != count * size:
        raise RequestError(
            f"input {shown(name)} has {len(data)} bytes: {datatype} of shape {list(shape)} needs {shown(count * size)}"
        )
    if datatype == "BOOL" and bytes(data).translate(None, b"\0\1"):
        raise RequestError(f"input {shown(name)}: BOOL takes bytes 0 and 1 only")
    return Tensor(name, datatype, shape, data)


def _split_bytes(name: str, data: memoryview, count: int) -> list[bytes]:
    """Elements of a BYTES tensor: a 4-byte little-endian length before each."""
    if count * LENGTH_BYTES > len(data):
        raise RequestError(f"input {shown(name)} has {len(data)} bytes: too few for {shown(count)} BYTES elements")
    elements, offset, end = [], 0, len(data)
    for index in range(count):
        start = offset + LENGTH_BYTES
        stop = start + _LENGTH.unpack_from(data, offset)[0] if start <= end else end + 1
        if stop > end:
            raise RequestError(f"input {shown(name)}: BYTES element {index} reaches beyond the tensor's {end} bytes")
        elements.append(bytes(data[start:stop]))
        offset = stop
    if offset != end:
        raise RequestError(f"input {shown(name)}: {end - offset} bytes are left after {count} BYTES elements")
    return elements
