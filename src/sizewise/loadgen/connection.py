"""One connection: one request at a time, its answer counted and thrown away. Speed matters more than looks here."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, cast

import httptools

FIRST_FINAL_STATUS = 200
"""Below it, more follows on the same request."""


class Owner(Protocol):
    def opened(self, connection: Connection) -> None: ...
    def answered(self, connection: Connection, status: int) -> None:
        """``due_s`` and ``sent_s`` are those of the request; it may be sent on if ``reusable``."""

    def lost(self, connection: Connection, reason: str) -> None:
        """Called once, when it is closed; ``busy`` says whether a request died with it."""


class Connection(asyncio.Protocol):
    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._parser = httptools.HttpResponseParser(self)
        self._head = b""
        self._complete = False
        self._reason = "closed by the server"
        self.busy = False
        self.reusable = True
        self.due_s = self.sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._owner.opened(self)

    def send(self, request: bytes, due_s: float) -> None:
        self.busy, self.due_s, self.sent_s = True, due_s, time.monotonic()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not self._head:
            self._head = data
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort("answer is not HTTP")
            return
        if self._complete:
            self._complete, self._head = False, b""
            if self.busy:
                self._answered()

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._complete = self._parser.get_status_code() >= FIRST_FINAL_STATUS
        self.reusable = self._parser.should_keep_alive()  # it forgets when this returns

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy and exc is None and self._ends_with_connection():
            self.reusable = False
            self._answered()
        self.reusable = False
        self._owner.lost(self, self._reason)

    def abort(self, reason: str) -> None:
        self._reason, self._head = reason, b""
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    def _answered(self) -> None:
        self.busy = False
        self._owner.answered(self, self._parser.get_status_code())

    def _ends_with_connection(self) -> bool:
        """Whether the answer says neither how long it is nor that it comes in chunks: then its end is the end."""
        head, end, _ = self._head.lower().partition(b"\r\n\r\n")
        return bool(end) and b"\ncontent-length:" not in head and b"\ntransfer-encoding:" not in head
