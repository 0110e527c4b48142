"""Frozen dataclasses to JSON values and back, checked against their annotations."""

from typing import Any, TypeVar

import orjson
from pydantic import TypeAdapter

T = TypeVar("T")


_adapters: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Making one takes milliseconds, so each is made once."""
    found = _adapters.get(kind)
    if found is None:
        found = _adapters[kind] = TypeAdapter(kind)
    return found


def to_jsonable(value: Any, kind: Any = None) -> Any:
    """Plain dicts, lists, strings and numbers; infinity becomes None where the type allows no other word."""
    return _adapter(kind or type(value)).dump_python(value, mode="json")


def from_jsonable(kind: type[T], value: Any) -> T:
    """Raises ValueError naming the field when ``value`` does not fit ``kind``."""
    result: T = _adapter(kind).validate_python(value)
    return result


def dumps(value: Any, kind: Any = None) -> bytes:
    return orjson.dumps(to_jsonable(value, kind))


def loads(kind: type[T], text: bytes | str) -> T:
    return from_jsonable(kind, orjson.loads(text))
