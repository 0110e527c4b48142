"""Heads of requests and answers as they pass a proxy: what is taken off, what is added."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sizewise.gateway.answers import status_line
from sizewise.gateway.exchange import Exchange
from sizewise.gateway.head import Header

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_OURS = frozenset(
    {b"expect", b"content-length", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix"}
)
_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})


def request_head(x: Exchange) -> bytes:
    """The request as the server behind us sees it: the prefix gone from its path, and named in a header."""
    named = _named_by_connection(x.headers)
    lines = [b"%b %b HTTP/1.1" % (x.method, x.forward)]
    host = b""
    for name, value in x.headers:
        lower = name.lower()
        if lower == b"host":
            host = value
        if lower in _HOP_BY_HOP or lower in _OURS or lower in named or lower == x.facts.key_header:
            continue
        lines.append(b"%b: %b" % (name, value))
    if x.body_bytes or x.method in _WITH_BODY:
        lines.append(b"Content-Length: %d" % x.body_bytes)
    if not host:
        lines.append(b"Host: localhost")
    lines += (
        b"X-Forwarded-For: %b" % _client_of(x),
        b"X-Forwarded-Host: %b" % host,
        b"X-Forwarded-Proto: https" if _is_secure(x) else b"X-Forwarded-Proto: http",
        b"X-Forwarded-Prefix: %b" % x.prefix,
    )
    return b"\r\n".join(lines) + b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """``chunked``: the client gets chunks. ``bodiless``: nothing follows. ``until_eof``: the body ends with the
    connection of the server behind us."""

    text: bytes
    chunked: bool
    bodiless: bool
    until_eof: bool


def answer_head(x: Exchange, status: int, headers: list[Header]) -> AnswerHead:
    """The answer's head for the client. A length that is not known becomes chunks, or the end of the connection."""
    named = _named_by_connection(headers)
    lines: list[bytes] = []
    length = coded = False
    for name, value in headers:
        lower = name.lower()
        length = length or lower == b"content-length"
        coded = coded or lower == b"transfer-encoding"
        if lower in _HOP_BY_HOP or lower in named:
            continue
        inside = lower == b"location" and value.startswith(b"/")
        moved = inside and not value.startswith((b"//", x.prefix + b"/"))
        lines.append(b"%b: %b\r\n" % (name, x.prefix + value if moved else value))
    bodiless = x.method == b"HEAD" or status in {204, 304}
    chunked = not bodiless and not length and x.http_11
    if not bodiless and not length and not x.http_11:
        x.last = True
    if chunked:
        lines.append(b"Transfer-Encoding: chunked\r\n")
    text = b"".join((status_line(status), *lines, x.closing_headers(), b"\r\n"))
    return AnswerHead(text, chunked, bodiless, until_eof=not (bodiless or length or coded))


def _named_by_connection(headers: Iterable[Header]) -> frozenset[bytes]:
    """Headers that the sender declared to be for the next hop only."""
    listed = [value for name, value in headers if name.lower() == b"connection"]
    if not listed:
        return frozenset()
    # These are never the next hop's business alone; naming them would be a way to strip them
    kept = {b"host", b"content-length", b"authorization", b"content-type"}
    return frozenset(part.strip().lower() for value in listed for part in value.split(b",")) - kept


def _is_secure(x: Exchange) -> bool:
    return x.connection.transport.get_extra_info("sslcontext") is not None


def _client_of(x: Exchange) -> bytes:
    peer = x.connection.transport.get_extra_info("peername")
    return str(peer[0]).encode() if isinstance(peer, tuple) and peer else b"unknown"
