"""Numbers of large v2 JSON bodies straight into one buffer, without a Python number for each.

Whatever is not plain (another structure, a number out of range, a key given twice) is left to the exact decoder, which
also words what is wrong. So both accept the same requests and give the same bytes.
"""

from typing import Any

import numpy as np

from sizewise.core.tensors import DATATYPE_BYTES
from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip import decode as exact_decode
from sizewise.protocols.oip.arrays import DTYPES, Array
from sizewise.protocols.oip.request import InferRequest, Signature
from sizewise.protocols.oip.v2 import NOTHING, from_document
from sizewise.protocols.oip.values import FORMATS, Packed

try:
    import simdjson

    _parser: Any = simdjson.Parser()
except ImportError:  # where there is no build of it the exact decoder does everything
    _parser = None

QUICK_BYTES = 8192
"""Smaller bodies are decoded faster by the exact decoder: ``benchmarks/codec.py``."""
KEPT_BYTES = 1 << 18
"""A parser keeps about ten times its largest body, so a larger one gets its own."""


def decode(body: bytes | memoryview, *, signature: Signature, encoding: int, json_bytes: int) -> InferRequest:
    """As ``sizewise.protocols.oip.decode``, and faster for long lists of numbers."""
    if encoding == Encoding.V2_JSON and _parser is not None and len(body) >= QUICK_BYTES:
        body = bytes(body)
        document = plain_document(body)
        if document is not None:
            return from_document(document, tail=NOTHING, signature=signature)
    return exact_decode(body, signature=signature, encoding=encoding, json_bytes=json_bytes)


def plain_document(body: bytes) -> dict[str, Any] | None:
    """What ``parse`` gives, with `Packed` for data; None for a body that is not plain."""
    if not body.startswith(b"{"):
        return None
    parser = _parser if len(body) <= KEPT_BYTES else simdjson.Parser()
    try:
        source: Any = parser.parse(body)
        found, lists = _fields(source, but="inputs")
        entries = [_entry(entry) for entry in source["inputs"]]
    except (ValueError, TypeError, RuntimeError, AttributeError, KeyError):
        return None
    found["inputs"] = [entry for entry, _ in entries]
    # Elements are taken from lists at any depth: one list more than these, or a bracket in a name, is not plain
    return found if body.count(b"[") == 1 + lists + sum(lists for _, lists in entries) else None


def _fields(source: Any, *, but: str) -> tuple[dict[str, Any], int]:
    """Values of an object with one exception, and how many lists are in them."""
    keys = tuple(source.keys())
    found = {key: _plain(source[key]) for key in keys if key != but}
    if len(found) != len(keys) - 1:
        raise ValueError("a key is given twice, or one is missing")
    return found, sum(map(_lists, found.values()))


def _plain(value: Any) -> Any:
    if isinstance(value, simdjson.Array):
        return value.as_list()
    return value.as_dict() if isinstance(value, simdjson.Object) else value


def _lists(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_lists, value.values()))
    return 1 + sum(map(_lists, value)) if isinstance(value, list) else 0


def _entry(source: Any) -> tuple[dict[str, Any], int]:
    """One input, and how many lists it has."""
    found, lists = _fields(source, but="data")
    data, shape = source["data"], found["shape"]
    nested = len(data) if len(data) and isinstance(data[0], simdjson.Array) else 0
    if nested and (len(shape) != 2 or nested != shape[0] or any(len(row) != shape[1] for row in data)):
        raise ValueError("not a table of that shape")
    found["data"] = pack(data, found["datatype"])
    return found, lists + 1 + nested


def pack(data: Any, datatype: str) -> Packed:
    """Raises ValueError or TypeError for what is not a number in the range of the datatype."""
    if datatype not in FORMATS:
        raise ValueError
    wanted = DTYPES[datatype]
    kind = "d" if wanted.kind == "f" else "u" if datatype == "UINT64" else "i"
    wide: Array = np.frombuffer(data.as_buffer(of_type=kind), np.dtype(f"<{'f' if kind == 'd' else kind}8"))
    if DATATYPE_BYTES[datatype] == 8:
        return Packed(len(wide), wide.data)
    with np.errstate(over="ignore"):
        narrow = wide.astype(wanted)
    if not (np.isfinite(narrow).all() if kind == "d" else np.array_equal(narrow, wide)):
        raise ValueError
    return Packed(len(narrow), narrow.data)
