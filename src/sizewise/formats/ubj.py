"""UBJSON as XGBoost writes it: objects and lists as values, typed arrays as their type and length only.

Source: https://ubjson.org, draft 12, big-endian.
"""

import struct
from dataclasses import dataclass

from sizewise.formats.confine import Source
from sizewise.formats.found import FormatError, shown

MAX_VALUES = 3_000_000
MAX_DEPTH = 64
_TEXT_MAX_BYTES = 16 * 1024**2

_NUMBERS = {
    b"i": struct.Struct(">b"), b"U": struct.Struct(">B"), b"I": struct.Struct(">h"), b"l": struct.Struct(">i"),
    b"L": struct.Struct(">q"), b"d": struct.Struct(">f"), b"D": struct.Struct(">d"),
}  # fmt: skip
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}


@dataclass(frozen=True, slots=True)
class Typed:
    """A typed array that was skipped."""

    kind: str
    count: int


def read_ubj(source: Source) -> object:
    """The whole file. Raises FormatError where it is cut off, damaged or goes on behind its end."""
    reader = _Reader(source)
    value = reader.value(reader.take(1), 0)
    if reader.at != source.size:
        raise FormatError(f"goes on behind its end, at byte {reader.at}")
    return value


class _Reader:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._values = 0
        self.at = 0

    def take(self, count: int) -> bytes:
        # Most pieces are small: they come from a window
        if count <= 32 and self.at < self._source.size:
            window, base = self._source.window(self.at)
            data = window[self.at - base : self.at - base + count]
            if len(data) == count:
                self.at += count
                return data
        data = self._source.read(self.at, count)
        self.at += count
        return data

    def value(self, mark: bytes, depth: int) -> object:
        self._values += 1
        if self._values > MAX_VALUES or depth > MAX_DEPTH:
            raise FormatError("holds more values, or deeper ones, than a model", "it is too complex to be a model")
        if mark in _NUMBERS:
            return self._number(mark)
        if mark in _CONSTANTS:
            return _CONSTANTS[mark]
        if mark == b"S":
            return self._text()
        if mark == b"C":
            return self.take(1).decode("latin1")
        if mark == b"{":
            return self._object(depth)
        if mark == b"[":
            return self._list(depth)
        raise FormatError(f"has the unknown mark {shown(mark)} at byte {self.at - 1}")

    def _number(self, mark: bytes) -> int | float:
        number = _NUMBERS[mark]
        value: int | float = number.unpack(self.take(number.size))[0]
        return value

    def _count(self) -> int:
        mark = self.take(1)
        value = self._number(mark) if mark in _NUMBERS else -1
        if not isinstance(value, int) or value < 0:
            raise FormatError(f"has a damaged length at byte {self.at}")
        return value

    def _text(self) -> str:
        count = self._count()
        if count > _TEXT_MAX_BYTES:
            raise FormatError(f"has a text of {count} bytes")
        return self.take(count).decode("utf-8", "replace")

    def _object(self, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        while (mark := self.take(1)) != b"}":
            self.at -= len(mark)
            key = self._text()
            found[key] = self.value(self.take(1), depth + 1)
        return found

    def _list(self, depth: int) -> list[object] | Typed:
        mark = self.take(1)
        if mark == b"$":
            return self._typed()
        if mark == b"#":
            return [self.value(self.take(1), depth + 1) for _ in range(self._count())]
        items: list[object] = []
        while mark != b"]":
            items.append(self.value(mark, depth + 1))
            mark = self.take(1)
        return items

    def _typed(self) -> Typed:
        kind = self.take(1)
        if kind not in _NUMBERS or self.take(1) != b"#":
            raise FormatError(f"has a damaged array at byte {self.at}")
        count = self._count()
        end = self.at + count * _NUMBERS[kind].size
        if end > self._source.size:
            raise FormatError(f"is cut off: an array at byte {self.at} needs {count} numbers", "copy it again, whole")
        self.at = end
        return Typed(kind.decode(), count)
