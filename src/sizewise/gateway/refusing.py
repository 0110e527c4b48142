"""Why a connection ends before its time: what the parser or a limit refuses, and in which words."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import httptools

from sizewise.core.units import format_bytes

if TYPE_CHECKING:
    from sizewise.gateway.connection import Connection
    from sizewise.gateway.exchange import Exchange

log = logging.getLogger(__name__)


class Stop(Exception):  # noqa: N818 - not an error: it makes the parser stop where it is
    pass


def malformed(connection: Connection, error: httptools.HttpParserError) -> None:
    """The parser cannot go on."""
    if isinstance(error, httptools.HttpParserCallbackError):
        log.error("a request could not be handled", exc_info=error.__context__)
        connection.transport.abort()
        return
    text = str(error)
    if "Invalid HTTP version" in text or "PRI" in text:
        connection.fail_now(505, "only HTTP/1.1 and HTTP/1.0 are supported")
    else:
        connection.fail_now(400, f"malformed HTTP request: {text}")


def head_too_large(connection: Connection) -> None:
    limits = connection.limits
    text = f"the headers are over the limit of {limits.headers} or {format_bytes(limits.head_bytes)}: send fewer"
    connection.fail_now(431, text)


def body_too_large(connection: Connection, x: Exchange, size: int) -> None:
    """Raises Stop: nothing more of this connection is parsed."""
    limit = format_bytes(connection.limits.body_bytes)
    # Of a chunked body only the beginning is known
    shown = f"the body of {format_bytes(size)}" if x.facts.content_length is not None else "the body"
    connection.fail_now(413, f"{shown} is over the limit of {limit}: send less at once")
    raise Stop


def gateway_full(connection: Connection) -> None:
    """Raises Stop: nothing more of this connection is parsed."""
    limit = format_bytes(connection.limits.buffered_bytes)
    connection.fail_now(503, f"requests at work hold the limit of {limit}: try again", b"Retry-After: 1\r\n")
    raise Stop
