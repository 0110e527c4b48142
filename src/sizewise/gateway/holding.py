"""What a connection holds besides bodies: heads and trailers without an end, answers whose turn has not come.

Everything that a client can make us keep counts towards ``Limits.buffered_bytes``.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sizewise.gateway.refusing import Stop, gateway_full, head_too_large

if TYPE_CHECKING:
    from sizewise.gateway.connection import Connection
    from sizewise.gateway.exchange import Exchange

SMALL_HEAD_BYTES = 4096
"""Heads of up to this size are remembered, and count as part of their connection."""


def no_progress(connection: Connection, size: int, *, new: bool) -> None:
    """A head, a chunk's line or trailers have grown by ``size`` and not come to their end."""
    x, gateway, limits = connection.x, connection.gateway, connection.limits
    if x is None or connection.deaf:
        return
    # Of a piece in which the head has begun we do not know where; its size is judged again when it is complete
    connection.silent_bytes += 1 if new else size
    x.held_bytes += size
    gateway.buffered_bytes += size
    if connection.silent_bytes > limits.head_bytes:
        head_too_large(connection)
    elif gateway.buffered_bytes > limits.buffered_bytes:
        with contextlib.suppress(Stop):
            gateway_full(connection)


def park(connection: Connection, x: Exchange, parts: bytes | list[bytes]) -> None:
    """An answer waits for those before it. A connection that makes us keep too many ends."""
    gateway = connection.gateway
    size = len(parts) if isinstance(parts, bytes) else sum(map(len, parts))
    x.held_bytes += size
    gateway.buffered_bytes += size
    if gateway.buffered_bytes > connection.limits.buffered_bytes and not connection.closed:
        connection.closed = connection.deaf = True
        connection.transport.abort()
