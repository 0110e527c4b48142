"""Large bodies, taken past the parser: it would copy each piece once more to say that it is one.

Only where the parser itself has found a plain ``Content-Length`` and is in the middle of that body, so that nothing is
framed here: the bytes that are missing are counted off, and a new parser begins behind them.
"""

from __future__ import annotations

import contextlib
from time import monotonic
from typing import TYPE_CHECKING

import httptools

from sizewise.gateway.refusing import Stop

if TYPE_CHECKING:
    from sizewise.gateway.connection import Connection
    from sizewise.gateway.exchange import Exchange

LARGE_BYTES = 64 * 1024
"""Missing parts from here on are worth a new parser."""


def missing_bytes(x: Exchange) -> int:
    """How much of a body that has begun goes past the parser."""
    facts = x.facts
    if facts.content_length is None or facts.chunked or facts.upgrade or x.dropping or x.method != b"POST":
        return 0
    missing = facts.content_length - x.body_bytes
    return missing if missing >= LARGE_BYTES else 0


def take(connection: Connection, data: bytes) -> bytes:
    """More of such a body; what follows it in ``data``."""
    connection.now_s = monotonic()
    piece = data[: connection.missing_bytes]  # all of it: the same object, not a copy
    connection.missing_bytes -= len(piece)
    with contextlib.suppress(Stop):
        connection.on_body(piece)
    if not connection.missing_bytes and not connection.deaf:
        connection.parser = httptools.HttpRequestParser(connection)
        connection.on_message_complete()
    return data[len(piece) :]
