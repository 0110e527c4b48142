"""Protocol buffers on the wire: fields of a message in a file, by position, without reading what is skipped.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sizewise.formats.confine import Source
from sizewise.formats.found import FormatError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 3_000_000
"""About five seconds of scanning; the largest exported graphs have some hundred thousand."""
_RUN_BYTES = 1024 * 1024


class Field(NamedTuple):
    """``value`` is a varint's; ``start`` and ``end`` are the positions of the content of any other."""

    number: int
    wire: int
    value: int
    start: int
    end: int


class Scanner:
    """Reads messages of one file and stops at a number of fields that no model has."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._left = MAX_FIELDS

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message between two positions. Raises FormatError where they do not add up."""
        at = start
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise FormatError(f"has more than {MAX_FIELDS} fields", "it is too complex to be a model")
            window, base = self.source.window(at)
            key, i = _varint(window, at - base)
            number, wire = key >> 3, key & 7
            if wire == VARINT:
                value, i = _varint(window, i)
                at = base + i
                field = Field(number, wire, value, at, at)
            elif wire == BYTES:
                value, i = _varint(window, i)
                at = base + i + value
                field = Field(number, wire, 0, base + i, at)
            elif wire in (FIXED32, FIXED64):
                size = 4 if wire == FIXED32 else 8
                at = base + i + size
                field = Field(number, wire, 0, base + i, at)
            else:
                raise FormatError(f"has a field of unknown kind {wire} at byte {at}")
            if at > end or not number:
                raise FormatError(f"is cut off or damaged: a field at byte {base + i} leaves its message")
            yield field

    def text(self, field: Field, most: int = 4096) -> str:
        """A string field of at most ``most`` bytes."""
        return self.bytes(field, most).decode("utf-8", "replace")

    def bytes(self, field: Field, most: int = 4096) -> bytes:
        if field.wire != BYTES:
            raise FormatError(f"has field {field.number} of kind {field.wire} where text should be")
        if field.end - field.start > most:
            raise FormatError(f"has a text of {field.end - field.start} bytes where at most {most} make sense")
        return self.source.read(field.start, field.end - field.start)

    def varints(self, field: Field, most: int = 1024) -> list[int]:
        """Values of a repeated integer field: one, or packed."""
        if field.wire == VARINT:
            return [field.value]
        data, values, i = self.bytes(field, most * 10), [], 0
        while i < len(data):
            value, i = _varint(data, i)
            values.append(value)
        return values

    def count_varints(self, field: Field) -> int:
        """How many numbers a packed field holds."""
        count = 0
        for at in range(field.start, field.end, _RUN_BYTES):
            data = np.frombuffer(self.source.read(at, min(_RUN_BYTES, field.end - at)), np.uint8)
            count += int(np.count_nonzero(data < 128))
        return count

    def run(self, field: Field, end: int) -> tuple[int, int]:
        """How many more fields like ``field`` follow it without a gap, up to ``end``; and where the last ends.

        Old-style repeated numbers are one field each, and a forest has millions of them: they are counted by numpy.
        """
        # One byte of key: numbers up to 15
        key, at, count = field.number << 3 | field.wire, field.end, 0
        while at < end and key < 128:
            data = np.frombuffer(self.source.read(at, min(_RUN_BYTES, end - at)), np.uint8)
            ends = _fixed_run(data, key) if field.wire == FIXED32 else _varint_run(data, key)
            if not ends.size:
                break
            count += int(ends.size)
            at += int(ends[-1]) + 1
        return count, at


def _fixed_run(data: np.ndarray, key: int) -> np.ndarray:
    """Last positions of the fields of five bytes that open ``data``."""
    whole = data.size // 5
    keys = data[: whole * 5 : 5] == key
    length = whole if keys.all() else int(keys.argmin())
    return np.arange(length) * 5 + 4


def _varint_run(data: np.ndarray, key: int) -> np.ndarray:
    """Last positions of the key and varint pairs that open ``data``."""
    # A byte below 128 ends a key or a value, so they alternate; each key is one byte, right after a value
    stops = np.flatnonzero(data < 128)
    keys, ends = stops[0::2], stops[1::2]
    keys = keys[: ends.size]
    before = np.concatenate(([-1], ends[:-1])) if ends.size else ends
    good = (data[keys] == key) & (keys == before + 1) & (ends - keys <= 10)
    length = good.size if good.all() else int(good.argmin())
    return ends[:length]


def _varint(data: bytes, i: int) -> tuple[int, int]:
    """The unsigned number at ``i`` and the position after it; at most ten bytes."""
    try:
        byte = data[i]
        if byte < 128:
            return byte, i + 1
        value, shift = byte & 127, 7
        while True:
            i += 1
            byte = data[i]
            value |= (byte & 127) << shift
            if byte < 128:
                return value, i + 1
            shift += 7
            if shift > 63:
                raise FormatError("holds a number of more than ten bytes")
    except IndexError as error:
        raise FormatError("is cut off in the middle of a number") from error


def signed(value: int) -> int:
    """A varint as the int64 it stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value
