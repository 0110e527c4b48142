"""One request and its answer, from the first byte in to the last byte out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sizewise.gateway.answers import BINARY, DATES, JSON, error_body, head, json_body
from sizewise.gateway.head import Facts, Header

if TYPE_CHECKING:
    from sizewise.gateway.connection import Connection
    from sizewise.gateway.model import Model
    from sizewise.gateway.replica import Replica

PIECE_BYTES = 4096
"""Smaller pieces of a body are put together: each piece alone would weigh more than it holds."""
_NO_FACTS = Facts()


class Exchange:
    """Defaults live on the class, so that making one costs only what differs from them."""

    method = b""
    url = b""
    path = ""
    """Decoded, without the query; set only off the hot path."""
    query = b""
    prefix = b""
    """Of a request that is passed on: what was taken off its path,"""
    forward = b"/"
    """and what is left."""
    facts = _NO_FACTS
    http_11 = True
    last = False
    """The connection closes after this answer."""
    body: bytes | list[bytes | bytearray] = b""
    """As it came: one piece, or several that nobody joined yet."""
    body_bytes = 0
    held_bytes = 0
    """Counted besides the body: a head that is large or not complete, or an answer that waits for its turn."""
    dropping = False
    """The answer is known already; what comes of the body is not kept."""
    continued = False
    """`100 Continue` has been sent."""
    refusal: tuple[int, str] | None = None
    refusal_headers = b""
    action: Callable[[Any], None]
    """What is done with it when it is complete."""

    arrived_s = 0.0
    deadline_s = 0.0
    """Monotonic; 0 while only the model's own timeout counts and the model has not woken."""
    timeout_s: float | None = None
    own_deadline = False
    """The client named it."""
    hold_until_s = 0.0
    model: Model | None = None
    encoding = 0
    json_bytes = 0
    replica: Replica | None = None
    """Where it is now."""
    ahead = -1
    """Requests before it when it came; -1 when it was held, which says nothing about speed."""
    expected_s = 0.0
    """What it was then expected to take."""
    sent_s = 0.0
    """When its replica got it."""
    number = 0
    """Its id in frames."""
    queued = False
    deaths = 0
    """Replicas that died with it unanswered."""
    gone = False
    """The client has left."""

    parts: bytes | list[bytes] | None = None
    """The answer, as far as it has not been written."""
    streaming = False
    """More parts follow."""
    on_drained: Callable[[], None] | None = None
    """Called when the client can take more of a stream."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.headers: list[Header] = []

    def append(self, data: bytes) -> None:
        """More of a body that has begun."""
        if isinstance(self.body, bytes):
            self.body = [self.body]
        last = self.body[-1]
        if len(data) >= PIECE_BYTES:
            self.body.append(data)
        elif isinstance(last, bytearray):
            last += data
        else:
            self.body.append(bytearray(data))

    def head_without_upgrade(self) -> bytes:
        """The head as it would have come from a client that does not wish for another protocol."""
        kept = (b"%b: %b\r\n" % header for header in self.headers if header[0].lower() != b"upgrade")
        version = b"1.1" if self.http_11 else b"1.0"
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.method, self.url, version, b"".join(kept))

    def joined(self) -> bytes:
        """The whole body as one piece."""
        if not isinstance(self.body, bytes):
            self.body = b"".join(self.body)
        return self.body

    def closing_headers(self) -> bytes:
        """What the answer must say about the connection; nothing in the common case."""
        if self.last:
            return b"Connection: close\r\n"
        return b"" if self.http_11 else b"Connection: keep-alive\r\n"

    def answer(self, status: int, body: bytes, *, kind: bytes = JSON, extra: bytes = b"") -> None:
        """Answer whole. HEAD gets the head only, with the length that GET would have."""
        start = head(status, len(body), kind=kind, extra=self.closing_headers() + extra)
        self.connection.answer(self, start if self.method == b"HEAD" else start + body)

    def head_of_result(self, status: int, length: int, *, binary: bool, json_bytes: int) -> bytes:
        """What goes before the body that a model gave."""
        if status == 200 and not binary and self.http_11 and not self.last:
            return DATES.json_ok + b"%d\r\n\r\n" % length
        extra = self.closing_headers()
        if binary:
            extra += b"Inference-Header-Content-Length: %d\r\n" % json_bytes
        return head(status, length, kind=BINARY if binary else JSON, extra=extra)

    def reply(self, value: Any, status: int = 200) -> None:
        self.answer(status, json_body(value))

    def fail(self, status: int, text: str, *, retry_after_s: float | None = None, extra: bytes = b"") -> None:
        """Answer ``{"error": text}``."""
        if retry_after_s is not None:
            # Whole seconds, as the header wants; 0 would invite a storm
            extra += b"Retry-After: %d\r\n" % max(1, math.ceil(retry_after_s))
        self.answer(status, error_body(text), extra=extra)

    def refuse(self, status: int, text: str, extra: bytes = b"") -> None:
        """Decide the answer before the body has arrived; it is sent when the body has gone by."""
        self.refusal = (status, text)
        self.refusal_headers = extra
        self.dropping = True
        self.action = Exchange.send_refusal

    def send_refusal(self) -> None:
        if self.refusal is not None:
            self.fail(*self.refusal, extra=self.refusal_headers)
