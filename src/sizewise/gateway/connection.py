"""The HTTP side of the hot path: one client connection.

Bytes go to ``llhttp`` (through httptools); its callbacks fill an `Exchange`; the exchange's action runs when it is
complete; answers leave in the order of their requests. What a request costs here is counted in tenths of
microseconds, so the common case comes first in every function and everything else is a call away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, cast

import httptools

from sizewise.gateway.answers import CONTINUE, error_body, head
from sizewise.gateway.bodies import missing_bytes, take
from sizewise.gateway.exchange import Exchange
from sizewise.gateway.head import Facts, Header, judge
from sizewise.gateway.holding import SMALL_HEAD_BYTES, no_progress, park
from sizewise.gateway.refusing import Stop, body_too_large, gateway_full, head_too_large, malformed

if TYPE_CHECKING:
    from sizewise.gateway.gateway import Gateway

log = logging.getLogger(__name__)

GONE = (OSError, RuntimeError)
"""What a transport raises when its client has left and the loop has not told us yet; nobody else may suffer from it."""
_NO_FACTS = Facts(keys_version=-1)


class Connection(asyncio.Protocol):
    """Reads while it may, writes in order. ``deaf``: whatever still comes is dropped."""

    transport: asyncio.Transport

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.limits = gateway.limits
        self.parser = httptools.HttpRequestParser(self)
        self.queue: deque[Exchange] = deque()
        """Requests that are complete and not answered, oldest first."""
        self.deferred = 0
        """How many at the end of the queue have not been started."""
        self.x: Exchange | None = None
        """The request being received."""
        self.headers: list[Header] = []
        self.head_done = False
        self.silent_bytes = 0
        """Received since the last progress: a head, or trailers, that do not end."""
        self.facts = _NO_FACTS
        self.facts_of: tuple[list[Header], bool] = ([], True)
        self.missing_bytes = 0
        """Of a large body, that go past the parser."""
        self.rewritten = b""
        """Head of a request that asked for an upgrade, without that wish."""
        self.now_s = self.begun_s = self.idle_since_s = monotonic()
        self.deaf = self.closed = self.stalled = self.lingering = self.reading_paused = False
        self.stuck_since_s = 0.0
        self.unsent_bytes = 0

    # -- reading ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if len(data) > self.limits.head_bytes and (self.x is None or not self.head_done):
            # A head may begin anywhere in it: in pieces, so that its size is known before much of it is kept
            for at in range(0, len(data), self.limits.head_bytes):
                self._feed(data[at : at + self.limits.head_bytes])
        else:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        if self.missing_bytes and not self.deaf:
            data = take(self, data)
        if self.deaf or not data:
            return
        self.now_s = monotonic()
        before, size = self.x, self.x.body_bytes if self.x is not None else 0
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if not self.deaf:
                malformed(self, error)
        if self.x is not None:
            if not self.head_done or (self.x is before and before.body_bytes == size):
                no_progress(self, len(data), new=self.x is not before)
            elif not self.deaf:
                self.missing_bytes = missing_bytes(self.x)

    def on_message_begin(self) -> None:
        self.x = x = Exchange(self)
        self.headers = x.headers
        self.begun_s = self.now_s
        self.head_done = False
        self.silent_bytes = 0

    def on_url(self, url: bytes) -> None:
        assert self.x is not None
        self.x.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) > self.limits.headers:
            head_too_large(self)
            raise Stop
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        x, parser, gateway = self.x, self.parser, self.gateway
        assert x is not None
        self.head_done = True
        x.method = parser.get_method()
        x.http_11 = http_11 = parser.get_http_version() == "1.1"
        x.last = gateway.draining or not parser.should_keep_alive()
        facts = self.facts
        if x.held_bytes:
            gateway.release(x)
        if facts.keys_version != gateway.access.keys.version or self.facts_of != (x.headers, http_11):
            facts = self._judge(x)
        else:
            x.headers = self.facts_of[0]  # one copy of them, however many requests have them
        x.facts = facts
        if facts.upgrade and parser.should_upgrade() and not facts.websocket:
            self.rewritten = x.head_without_upgrade()
            return
        self.headers = []  # trailers, if any, must not change what was judged
        hot = gateway.hot_paths.get(x.url)
        if hot is not None and facts.plain and x.method == b"POST" and not gateway.draining:
            x.model, x.encoding, x.action = hot
        else:
            gateway.plan(x)
        if facts.content_length is not None and facts.content_length > self.limits.body_bytes:
            body_too_large(self, x, facts.content_length)
        if facts.expects:
            self._expected(x)

    def on_body(self, data: bytes) -> None:
        x, gateway = self.x, self.gateway
        assert x is not None
        size = len(data)
        x.body_bytes += size
        if x.dropping:
            self._drop(x)
            return
        gateway.buffered_bytes += size
        if x.body_bytes > self.limits.body_bytes:
            body_too_large(self, x, x.body_bytes)
        if gateway.buffered_bytes > self.limits.buffered_bytes:
            gateway_full(self)
        if not x.body:
            x.body = data
        else:
            x.append(data)

    def on_message_complete(self) -> None:
        x = self.x
        assert x is not None
        self.x = None
        if self.rewritten:
            return
        x.arrived_s = self.now_s
        self.queue.append(x)
        if x.last:
            self.deaf = True
        if self.stalled or len(self.queue) > self.limits.pipelined:
            self.deferred += 1
            self._pause_reading()
        else:
            x.action(x)

    # -- writing ------------------------------------------------------------------------------------------------

    def answer(self, x: Exchange, parts: bytes | list[bytes]) -> None:
        """The whole answer. It leaves when those before it have left."""
        gateway = self.gateway
        if not x.dropping:
            gateway.buffered_bytes -= x.body_bytes
            x.dropping = True
        if x.held_bytes:
            gateway.release(x)
        x.body = b""
        queue = self.queue
        x.parts = parts
        if queue and queue[0] is x:
            if len(queue) == 1 and not x.last and type(parts) is bytes:
                queue.popleft()
                self.idle_since_s = monotonic()
                self._write(parts)
                if self.x is not None:
                    self._continue()
            else:
                self._flush()
        else:
            park(self, x, parts)

    def _write(self, parts: bytes | list[bytes]) -> None:
        if self.closed:
            return
        try:
            if isinstance(parts, bytes):
                self.transport.write(parts)
            else:
                self.transport.writelines(parts)
        except GONE:
            self.closed = True
        if self.stalled:
            self.gateway.stall(self)

    def _flush(self) -> None:
        queue = self.queue
        while queue and (parts := queue[0].parts) is not None:
            x = queue[0]
            if x.held_bytes:
                self.gateway.release(x)
            self._write(parts)
            if x.streaming:
                x.parts = None
                if x.on_drained is not None and not self.stalled:
                    x.on_drained()
                return
            queue.popleft()
            if x.last:
                self._hang_up()
                return
        self.idle_since_s = monotonic()
        self._start_deferred()
        if not queue:
            self._continue()

    def stream(self, x: Exchange, data: bytes) -> bool:
        """A part of an answer whose end is not known. False: call no more until ``x.on_drained`` is called."""
        x.streaming = True
        if not x.dropping:
            self.gateway.buffered_bytes -= x.body_bytes
            x.dropping = True
        if x.held_bytes and x.parts is None:
            self.gateway.release(x)
        if self.queue and self.queue[0] is x:
            self._write(data)
            return not self.stalled
        x.parts = [*x.parts, data] if isinstance(x.parts, list) else [data]
        park(self, x, data)
        return False

    def end_stream(self, x: Exchange, data: bytes = b"") -> None:
        x.streaming = False
        x.parts = [*x.parts, data] if isinstance(x.parts, list) else [data]
        if self.queue and self.queue[0] is x:
            self._flush()

    def _hang_up(self) -> None:
        """After the last answer: close, or take in the rest of a refused body first so that the answer is not lost."""
        self.deaf = True
        if self.closed:
            return
        if self.x is not None:
            self.lingering = True
            self.stuck_since_s = monotonic()
            with contextlib.suppress(*GONE):
                self.transport.write_eof()
            return
        self.transport.close()

    # -- flow ---------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self.stalled = True
        self.stuck_since_s = monotonic()
        self.gateway.stall(self)

    def resume_writing(self) -> None:
        self.stalled = False
        self.gateway.unstall(self)
        self._start_deferred()
        if self.queue and (resume := self.queue[0].on_drained) is not None:
            resume()

    def _pause_reading(self) -> None:
        if not self.reading_paused and not self.closed:
            self.reading_paused = True
            with contextlib.suppress(*GONE):
                self.transport.pause_reading()

    def _start_deferred(self) -> None:
        """Start requests that were read before there was room for them."""
        queue = self.queue
        while self.deferred and not self.stalled and len(queue) - self.deferred < self.limits.pipelined:
            x = queue[len(queue) - self.deferred]
            self.deferred -= 1
            x.arrived_s = monotonic()
            x.action(x)
        if self.reading_paused and not self.deferred and not self.closed:
            self.reading_paused = False
            self.begun_s = monotonic()
            with contextlib.suppress(*GONE):
                self.transport.resume_reading()

    def _expected(self, x: Exchange) -> None:
        if x.refusal is not None:
            # The client may or may not send the body now, so this connection cannot go on.
            self._refuse_now(x)
            raise Stop
        if not self.queue:
            self._continue()

    def _continue(self) -> None:
        """Ask for the body that a client holds back, once all earlier answers have left."""
        x = self.x
        if x is not None and self.head_done and x.facts.expects and not x.continued and not x.body_bytes:
            x.continued = True
            self.begun_s = monotonic()
            self._write(CONTINUE)

    # -- refusing -----------------------------------------------------------------------------------------------

    def _judge(self, x: Exchange) -> Facts:
        if not x.http_11 and self.parser.get_http_version() != "1.0":
            self.fail_now(505, "only HTTP/1.1 and HTTP/1.0 are supported")
            raise Stop
        size = len(x.url) + sum(len(name) + len(value) + 4 for name, value in x.headers)
        if size > self.limits.head_bytes:
            head_too_large(self)
            raise Stop
        facts = judge(x.headers, http_11=x.http_11, access=self.gateway.access, limits=self.limits)
        self.facts, self.facts_of = facts, (x.headers, x.http_11)
        if size > SMALL_HEAD_BYTES:
            x.held_bytes = size
            self.gateway.buffered_bytes += size
        if facts.refusal is not None or size > SMALL_HEAD_BYTES:
            # An idle connection must not hold much
            self.facts, self.facts_of = _NO_FACTS, ([], True)
        return facts

    def _drop(self, x: Exchange) -> None:
        """A body nobody wants may pass, so that the connection can go on, but not forever."""
        if x.body_bytes > self.limits.body_bytes:
            self._refuse_now(x)
            raise Stop

    def _refuse_now(self, x: Exchange) -> None:
        """Answer before the request is complete; the connection ends with this answer."""
        x.last = True
        self.deaf = True
        self.queue.append(x)
        if self.deferred:
            self.deferred += 1
        else:
            x.action(x)

    def fail_now(self, status: int, text: str, extra: bytes = b"") -> None:
        """Answer, and let the connection end with that answer."""
        x = self.x or Exchange(self)
        if not x.dropping:
            self.gateway.buffered_bytes -= x.body_bytes
        if x.refusal is None:
            x.refuse(status, text, extra)
        self._refuse_now(x)

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """A server may ignore a wish to upgrade (h2c). The parser took the head for the end of HTTP, so it reads the
        head once more without that wish, and then the body."""
        if self.deaf:
            return
        again, self.rewritten = self.rewritten, b""
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(again)
        if rest:
            self.data_received(rest)

    # -- beginning and end --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self.transport = transport = cast("asyncio.Transport", transport)  # uvloop does not register its own
        if len(self.gateway.connections) >= self.gateway.max_connections:
            self.deaf = self.closed = True
            body = error_body(f"{self.gateway.max_connections} connections are open, which is the limit: try again")
            extra = b"Retry-After: 1\r\nConnection: close\r\n"
            transport.write(head(503, len(body), extra=extra) + body)
            transport.close()
            return
        self.gateway.connections.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed = self.deaf = True
        self.gateway.connections.discard(self)
        self.gateway.unstall(self)
        for x in (*self.queue, self.x):
            if x is not None:
                self.gateway.abandon(x)
        self.queue.clear()
        self.deferred = 0
        self.x = None
        del self.parser  # it and we hold each other
