"""Replicas that are servers the user brings: HTTP passed on to a local port, answers streamed as they come.

A prediction is taken to be repeatable: a request whose server went away before the first byte of an answer is tried
once more, whatever its method.
"""

from __future__ import annotations

import asyncio
import logging
import math
from time import monotonic
from typing import cast

import httptools

from sizewise.gateway.exchange import Exchange
from sizewise.gateway.forwarding import AnswerHead, answer_head, request_head
from sizewise.gateway.head import Header
from sizewise.gateway.replica import Replica

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
MAX_SPARE = 32
"""Connections kept open without a request."""
RETRY_S = (0.02, 1.0)
"""First and longest wait before looking again whether a port answers."""


class PortReplica(Replica):
    """A local port, and the connections to it. Each carries one request at a time."""

    def __init__(self, replica_id: str, port: int, *, version: str, max_outstanding: int) -> None:
        super().__init__(replica_id, version=version, max_outstanding=max_outstanding)
        self._port = port
        self._spare: list[Upstream] = []
        self._working: dict[int, Upstream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._probing = False

    def start(self) -> None:
        self.connected = True
        if self.model is not None:
            self.model.find_ready()

    def send(self, x: Exchange, now_s: float) -> None:
        self.take(x, now_s)
        # A retry must not fall for a connection that is just being closed
        if self._spare and not x.deaths:
            self._begin(self._spare.pop(), x)
        else:
            self._spawn(self._connect_for(x))

    def cancel(self, x: Exchange) -> None:
        if self.release(x.number) is None:
            return
        upstream = self._working.pop(x.number, None)
        if upstream is not None:
            upstream.drop()
        if not self.pending:
            self.became_idle(monotonic())

    def close(self) -> None:
        self.leaving = True
        for upstream in self._spare:
            upstream.drop()
        self._spare.clear()
        for task in self._tasks:
            task.cancel()

    # Called by connections ------------------------------------------------------------------------------------

    def finished(self, upstream: Upstream, x: Exchange, *, reusable: bool) -> None:
        """The answer has been passed on."""
        now_s = monotonic()
        self._working.pop(x.number, None)
        if self.release(x.number) is None:
            return
        if self.model is not None:
            self.model.traffic.batch(1, now_s - x.sent_s)
        if reusable and not self.leaving and len(self._spare) < MAX_SPARE:
            self._spare.append(upstream)
        else:
            upstream.drop()
        self._freed(now_s)

    def broke(self, upstream: Upstream, x: Exchange | None) -> None:
        """A connection ended without (the rest of) an answer to ``x``; None: it was spare."""
        if x is None:
            if upstream in self._spare:
                self._spare.remove(upstream)
            return
        self._working.pop(x.number, None)
        if self.release(x.number) is None:
            return
        if not self.pending:
            self.became_idle(monotonic())
        if self.model is not None:
            self.model.replica_lost(self, [x])

    def cut_short(self, x: Exchange) -> None:
        """The server went away in the middle of an answer: the client must see that it is not whole."""
        self._working.pop(x.number, None)
        self.release(x.number)
        x.connection.transport.abort()
        self._freed(monotonic())

    def _freed(self, now_s: float) -> None:
        if not self.pending:
            self.became_idle(now_s)
        if self.model is not None:
            self.model.pump(now_s)

    # Connecting -----------------------------------------------------------------------------------------------

    def _begin(self, upstream: Upstream, x: Exchange) -> None:
        self._working[x.number] = upstream
        upstream.begin(x)

    async def _connect_for(self, x: Exchange) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, upstream = await loop.create_connection(lambda: Upstream(self), HOST, self._port)
        except OSError as error:
            if self.release(x.number) is not None:
                self._unreachable(x, error)
            return
        if x.replica is self and x.number in self.pending:
            self._begin(upstream, x)
        else:
            upstream.drop()

    def _unreachable(self, x: Exchange, error: OSError) -> None:
        """Nobody listens, so the request has harmed nobody: it goes back to where it came from."""
        log.info("replica %s: port %d: %s", self.replica_id, self._port, error.strerror or error)
        self.connected = False
        if not self.pending:
            self.became_idle(monotonic())
        if self.model is not None:
            self.model.take_back(x)
        if not self._probing and not self.leaving:
            self._probing = True
            self._spawn(self._probe())

    async def _probe(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = RETRY_S[0]
        while not self.leaving:
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_S[1])
            try:
                _, upstream = await loop.create_connection(lambda: Upstream(self), HOST, self._port)
            except OSError:
                continue
            self._spare.append(upstream)
            self._probing = False
            self.start()
            return

    def _spawn(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Upstream(asyncio.Protocol):
    """One connection to the server. What one turn of the loop brings is passed on in one piece."""

    _transport: asyncio.Transport

    def __init__(self, owner: PortReplica) -> None:
        self._owner = owner
        self._parser = httptools.HttpResponseParser(self)
        self._x: Exchange | None = None
        self._headers: list[Header] = []
        self._head: AnswerHead | None = None
        self._out: list[bytes] = []
        self._complete = self._reusable = self._unasked = False

    def begin(self, x: Exchange) -> None:
        self._x, self._head, self._complete, self._reusable = x, None, False, False
        self._headers, self._out = [], []
        x.on_drained = self._resume
        body = [x.body] if isinstance(x.body, bytes) else x.body
        try:
            self._transport.writelines([request_head(x), *body])
        except (OSError, RuntimeError):
            self._transport.abort()

    def drop(self) -> None:
        """End the connection; nobody waits for it."""
        if self._x is not None:
            self._x.on_drained = None
        self._x = None
        self._transport.abort()

    # What the parser calls ------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head is None:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._complete:
            self._unasked = (
                True  # a second answer: no client's, and what follows on this connection is not to be trusted
            )
            return
        if status < 200:
            self._headers = []
            return
        x = self._x
        if x is None:
            return
        self._head = answer_head(x, status, self._headers)
        self._out.append(self._head.text)
        x.deadline_s = math.inf  # it was for the first byte
        if x.model is not None:
            now_s = monotonic()
            x.model.settle(x, status, now_s, compute_s=now_s - x.sent_s)
        if self._head.bodiless:
            self._complete = True

    def on_body(self, data: bytes) -> None:
        if self._head is None or self._complete:
            return
        if self._head.chunked:
            self._out += (b"%x\r\n" % len(data), data, b"\r\n")
        else:
            self._out.append(data)

    def on_message_complete(self) -> None:
        if self._head is None:
            return  # an interim answer
        self._complete = True
        # After HEAD the parser waits for a body that never comes
        bodiless = self._x is not None and self._x.method == b"HEAD"
        kept = self._parser.should_keep_alive() and not self._unasked
        self._reusable = kept and not self._head.until_eof and not bodiless

    # What the loop calls --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._x is None:
            self._transport.abort()  # it speaks without being asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            log.warning("replica %s: malformed answer: %s", self._owner.replica_id, error)
            self._reusable = False
            if not self._complete:
                self._transport.abort()
                return
        if self._complete:
            self._finish()
        elif self._out:
            more = self._x.connection.stream(self._x, b"".join(self._out))
            self._out = []
            if not more:
                self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        x = self._x
        if x is not None and self._head is not None:
            if self._head.until_eof and exc is None:
                self._finish()
            else:
                self._x = None
                self._owner.cut_short(x)
            return
        self._x = None
        self._owner.broke(self, x)

    def _finish(self) -> None:
        x, head = self._x, self._head
        assert x is not None
        assert head is not None
        self._x = None
        x.on_drained = None
        if head.chunked:
            self._out.append(b"0\r\n\r\n")
        out, self._out = b"".join(self._out), []
        if x.streaming:
            x.connection.end_stream(x, out)
        else:
            x.connection.answer(x, out)
        self._owner.finished(self, x, reusable=self._reusable)

    def _resume(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()
