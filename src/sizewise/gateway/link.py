"""The frame side of the hot path: one connection to one replica, pipelined both ways.

Requests go out as they come; the loop writes everything of one turn in one call. Large bodies are passed on in the
pieces in which they came, in both directions, and never joined here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from time import monotonic
from typing import Any, cast

import orjson

from sizewise.gateway.exchange import Exchange
from sizewise.gateway.replica import Replica
from sizewise.protocols.frames import (
    HEADER,
    HEADER_BYTES,
    MAGIC,
    MAX_TARGET_BYTES,
    VERSION,
    Encoding,
    Flag,
    Frame,
    FrameError,
    Kind,
    encode_head,
)
from sizewise.protocols.sockets import send_far_ahead

log = logging.getLogger(__name__)

JOIN_BYTES = 32 * 1024
"""Up to here copying a body behind its header is cheaper than another buffer for the kernel."""
RETRY_S = (0.01, 1.0)
"""First and longest wait before connecting again to a replica that is still in the routes."""

_pack, _unpack = HEADER.pack, HEADER.unpack_from
# Members of an enumeration are looked up through a descriptor at every use
_INFER, _RESULT, _HELLO = int(Kind.INFER), int(Kind.RESULT), int(Kind.HELLO)
_LEAD, _ALONE = int(Flag.LEAD), int(Flag.ALONE)
_V2_BINARY = int(Encoding.V2_BINARY)


class FrameReplica(Replica, asyncio.Protocol):
    """Speaks ``protocols.frames``. Connects by itself for as long as it is routed."""

    def __init__(self, replica_id: str, path: Path, *, version: str, max_outstanding: int, max_body_bytes: int) -> None:
        super().__init__(replica_id, version=version, max_outstanding=max_outstanding)
        self.peer_id = replica_id
        """What the process at the socket calls itself: a shared one has a name of its own."""
        self._path = path
        self._max_body_bytes = max_body_bytes
        self._transport: asyncio.Transport | None = None
        self._target = b""
        self._rest = b""
        self._large: tuple[Any, ...] | None = None
        """Header of a frame whose body is being collected."""
        self._pieces: list[bytes] = []
        self._missing_bytes = 0
        self._gone = asyncio.Event()
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- requests out -------------------------------------------------------------------------------------------

    def send(self, x: Exchange, now_s: float) -> None:
        number = self.take(x, now_s)
        body, size = x.body, x.body_bytes
        start = (
            _pack(
                MAGIC,
                VERSION,
                _INFER,
                _ALONE if x.deaths else 0,
                x.encoding,
                number,
                int(x.deadline_s * 1e9),
                x.json_bytes,
                0,
                len(self._target),
                0,
                size,
            )
            + self._target
        )
        transport = self._transport
        assert transport is not None
        try:
            if type(body) is not bytes:
                transport.writelines([start, *body])
            elif size <= JOIN_BYTES:
                transport.write(start + body)
            else:
                transport.writelines([start, body])
        except (OSError, RuntimeError):
            # It has gone and the loop has not told us yet: connection_lost finds the request among the pending.
            transport.abort()

    def cancel(self, x: Exchange) -> None:
        if self.release(x.number) is None:
            return
        if self._transport is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._transport.write(encode_head(Frame(kind=Kind.CANCEL, request_id=x.number)))
        if not self.pending:
            self.became_idle(monotonic())

    def gave_up_on(self, x: Exchange) -> None:
        """Ask for its status: one that is only slow answers when it is free, one that hangs never does."""
        self.mute_since_s = self.mute_since_s or x.sent_s
        self.number += 1
        if self._transport is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._transport.write(encode_head(Frame(kind=Kind.STATUS, request_id=self.number)))

    # -- answers in ---------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        now_s = monotonic()
        had = bool(self.pending)
        self.mute_since_s = 0.0
        if self._large is not None:
            data = self._collect(data, now_s)
        elif self._rest:
            data = self._rest + data
            self._rest = b""
        offset, size = 0, len(data)
        while size - offset >= HEADER_BYTES:
            fields = _unpack(data, offset)
            start = offset + HEADER_BYTES + fields[9]
            end = start + fields[11]
            if (
                fields[0] != MAGIC
                or fields[1] != VERSION
                or fields[9] > MAX_TARGET_BYTES
                or fields[11] > self._max_body_bytes
            ):
                self._break_off(fields)
                return
            if end > size:
                if start <= size and fields[11] > JOIN_BYTES:
                    self._large, self._pieces, self._missing_bytes = fields, [data[start:]], end - size
                    offset = size
                break
            if fields[2] == _RESULT:
                self._result(fields, data[start:end], now_s)
            elif fields[2] == _HELLO:
                self._hello(data[start:end])
            offset = end
        if offset < size:
            self._rest = data[offset:] if offset else data
        model = self.model
        if had and not self.pending:
            self.became_idle(now_s)
        if model is not None and (model.queue or model.reserved is not None):
            model.pump(now_s)

    def _result(self, fields: tuple[Any, ...], body: bytes | list[bytes], now_s: float) -> None:
        x = self.release(fields[5])
        if x is None:
            return  # cancelled while it was being computed
        status, encoding, json_bytes, length = fields[8], fields[4], fields[7], fields[11]
        model = x.model
        assert model is not None
        compute_s = fields[6] / 1e9
        if fields[3] & _LEAD:
            model.traffic.batch(fields[10], compute_s)
        model.settle(x, status, now_s, compute_s=compute_s)
        if not 200 <= status <= 599:  # no client could read such an answer
            log.error("replica %s: answers with status %d", self.replica_id, status)
            x.fail(500, f"the model answered with status {status}, which does not exist")
            return
        start = x.head_of_result(status, length, binary=encoding == _V2_BINARY, json_bytes=json_bytes)
        x.connection.answer(x, start + body if isinstance(body, bytes) else [start, *body])

    def _collect(self, data: bytes, now_s: float) -> bytes:
        """Take in more of a large body; what is left of ``data`` behind it."""
        missing = self._missing_bytes
        if len(data) < missing:
            self._pieces.append(data)
            self._missing_bytes -= len(data)
            return b""
        self._pieces.append(data[:missing])
        fields, pieces = self._large, self._pieces
        assert fields is not None
        self._large, self._pieces = None, []
        if fields[2] == _RESULT:
            self._result(fields, pieces, now_s)
        return data[missing:]

    def _hello(self, body: bytes) -> None:
        try:
            said = orjson.loads(body).get("replica_id", self.peer_id)
        except (orjson.JSONDecodeError, AttributeError):
            said = "what says no name"
        if said != self.peer_id:
            log.warning("replica %s: %s answers at its socket", self.replica_id, said)
        self.connected = True
        if self.model is not None:
            self.model.find_ready()

    def _break_off(self, fields: tuple[Any, ...]) -> None:
        problem = FrameError(f"header {fields!r} is not of frame protocol {VERSION}, or over its limits")
        log.error("replica %s: %s", self.replica_id, problem)
        if self._transport is not None:
            self._transport.abort()

    # -- connection ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._keep_connected())

    def poke(self) -> None:
        self._poked.set()

    def close(self) -> None:
        self.leaving = True
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.close()

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = RETRY_S[0]
        while True:
            self._gone.clear()
            try:
                await loop.create_unix_connection(lambda: self, str(self._path))
                wait_s = RETRY_S[0]
                await self._gone.wait()
            except OSError as error:
                log.debug("replica %s: %s", self.replica_id, error)
            self._poked.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._poked.wait(), wait_s)
            wait_s = min(2 * wait_s, RETRY_S[1])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:

        self._transport = cast("asyncio.Transport", transport)
        send_far_ahead(transport)
        self._rest, self._large, self._pieces = b"", None, []
        if self.model is not None:
            self._target = self.model.name.encode() + b"@" + self.version.encode()

    def pause_writing(self) -> None:
        self.congested = True
        self.update_room()

    def resume_writing(self) -> None:
        self.congested = False
        self.update_room()
        if self.model is not None:
            self.model.pump(monotonic())

    def connection_lost(self, _exc: Exception | None) -> None:
        self.connected = self.congested = False
        self._transport = None
        self._gone.set()
        self.update_room()
        lost = self.release_all()
        if self.removed and self._task is not None:
            self._task.cancel()
        if lost:
            self.became_idle(monotonic())
        if self.model is not None:
            self.model.replica_lost(self, lost)
