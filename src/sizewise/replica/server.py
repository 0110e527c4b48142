"""Frames in, frames out: the connections of a replica and what it is told over them."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import orjson

from sizewise.hosting.hosted import Batch, Hosted, Pending
from sizewise.hosting.loading import LoadRequest, load, parse_load
from sizewise.hosting.second import open_last
from sizewise.protocols.errors import SizewiseError
from sizewise.protocols.execution import ExecutionJournal, record_of
from sizewise.protocols.frames import (
    HEADER,
    MAGIC,
    VERSION,
    Encoding,
    Flag,
    Frame,
    FrameError,
    Kind,
)
from sizewise.protocols.oip.encode import Answer, Part
from sizewise.protocols.sockets import send_far_ahead
from sizewise.replica.receiving import Receiver
from sizewise.runtimes import LoadedModel
from sizewise.runtimes.base import one_line
from sizewise.system.memory import release_memory, rss_anon_bytes

log = logging.getLogger(__name__)

JOIN_BELOW_BYTES = 64 * 1024
"""Answers up to this size are joined to one write; a larger one is passed on without a copy."""
MAX_QUEUED_WRITE_BYTES = 16 * 1024 * 1024
"""A peer that does not read its answers is not read from either."""
FLUSH_LIMIT_S = 5.0
"""How long a peer that does not read its last answers may hold up the end."""
NO_SUCH_MODEL = 404
STOPPING = 503
_ALONE = int(Flag.ALONE)
_INFER = int(Kind.INFER)
_RESULT = int(Kind.RESULT)


class Connection(asyncio.BufferedProtocol):
    """One peer. What it asked for is forgotten when it goes; nobody else notices."""

    def __init__(self, replica: "Replica") -> None:
        self._replica = replica
        self._receiver = Receiver()
        self._transport: Any = None
        self._pending: dict[int, Pending] = {}
        self._out: list[Part] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.set_write_buffer_limits(high=MAX_QUEUED_WRITE_BYTES)
        send_far_ahead(transport)
        self._replica.connections.add(self)
        self.send(Kind.HELLO, 0, self._replica.hello())
        self._replica.flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport = None
        self._out.clear()
        for pending in self._pending.values():
            pending.drop()
        self._pending.clear()
        self._replica.left(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._receiver.room()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            frames = self._receiver.filled(nbytes)
        except FrameError as error:
            log.warning("connection ended: %s", error)
            self._transport.abort()
            return
        now_ns = time.monotonic_ns()
        for frame in frames:
            if frame.kind == _INFER:
                pending = Pending(self, frame, alone=bool(frame.flags & _ALONE), arrived_ns=now_ns)
                self._pending[frame.request_id] = pending
                self._replica.accept(frame.target, pending)
            elif frame.kind == Kind.CANCEL:
                cancelled = self._pending.pop(frame.request_id, None)
                if cancelled is not None:
                    cancelled.drop()
            else:
                self._replica.told(self, frame)
        self._replica.flush()

    def pause_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def answer(self, pending: Pending, answer: Answer, *, batch: Batch) -> bool:
        """Result of a computed request; False when nobody waits for it any more."""
        if self._pending.pop(pending.request_id, None) is None:
            return False
        parts = answer.parts
        out = self._out
        if not out:
            self._replica.unflushed.append(self)
        out.append(
            HEADER.pack(
                MAGIC,
                VERSION,
                _RESULT,
                1 if batch.lead else 0,
                answer.encoding,
                pending.request_id,
                batch.elapsed_ns,
                answer.json_bytes,
                200,
                0,
                batch.rows,
                len(parts[0]) if len(parts) == 1 else sum(map(len, parts)),
            )
        )
        out += parts
        return True

    def refuse(self, pending: Pending, status: int, text: str) -> None:
        """An answer without a computation."""
        if self._pending.pop(pending.request_id, None) is not None:
            self.send(Kind.RESULT, pending.request_id, {"error": text}, status=status)

    def send(self, kind: Kind, request_id: int, body: dict[str, Any], *, status: int = 0) -> None:
        encoding = Encoding.ERROR_JSON if status >= 400 else Encoding.NONE
        text = orjson.dumps(body)
        if not self._out:
            self._replica.unflushed.append(self)
        head = HEADER.pack(MAGIC, VERSION, kind, 0, encoding, request_id, 0, 0, status, 0, 0, len(text))
        self._out += (head, text)

    def flush(self) -> None:
        """Write what has gathered; a peer that has gone gets nothing and raises nothing."""
        out, self._out = self._out, []
        if not out or self._transport is None or self._transport.is_closing():
            return
        if sum(map(len, out)) <= JOIN_BELOW_BYTES:
            self._transport.write(b"".join(out))
        else:
            self._transport.writelines(out)

    def close(self) -> None:
        """After what is written has been sent."""
        if self._transport is not None:
            self._transport.close()


class Replica:
    """A list of models by target, and the order in which their requests are computed.

    Everything happens in the event loop's thread, a computation too: while it runs the kernel holds what arrives,
    and the next batch takes all of it.
    """

    def __init__(
        self,
        replica_id: str,
        *,
        loop: asyncio.AbstractEventLoop,
        finished: Callable[[], None],
        journal: ExecutionJournal | None = None,
    ) -> None:
        self.connections: set[Connection] = set()
        self.unflushed: list[Connection] = []
        self._loaders: set[Connection] = set()
        """Who ordered loads here hears what becomes of them."""
        self._id = replica_id
        self._loop = loop
        self._finished = finished
        self._journal = journal
        """Of a process that replicas share: who is executing must be known when it ends."""
        self._models: dict[bytes, Hosted] = {}
        self._scheduled = False
        self._stopping = False

    def hello(self) -> dict[str, Any]:
        return {
            "replica_id": self._id,
            "pid": os.getpid(),
            "monotonic_ns": time.monotonic_ns(),
            # Every connection to a shared process is greeted: all its models each time would be their square
            "models": [target.decode() for target in self._models] if self._journal is None else [],
        }

    def accept(self, target: bytes, pending: Pending) -> None:
        hosted = self._models.get(target)
        if hosted is None or self._stopping:
            status, why = (STOPPING, "is stopping") if self._stopping else (NO_SUCH_MODEL, "does not hold this model")
            pending.sink.refuse(pending, status, f"replica {self._id} {why}: {target.decode(errors='replace')}")
            return
        hosted.waiting.append(pending)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        """One batch of each model that has requests, then let the loop read what has arrived meanwhile."""
        for target, hosted in tuple(self._models.items()):
            if hosted.waiting:
                self._work_at(target, hosted)
        self.flush()
        self._scheduled = any(hosted.waiting for hosted in self._models.values())
        if self._scheduled:
            self._loop.call_soon(self._work)
        elif self._stopping:
            self._end()

    def _work_at(self, target: bytes, hosted: Hosted) -> None:
        journal = self._journal
        if journal is None:
            hosted.work()
            return
        journal.enter(record_of(target))
        hosted.work()
        journal.leave()
        self.flush()  # answers of one model do not wait for the calls of others

    def flush(self) -> None:
        connections, self.unflushed = self.unflushed, []
        for connection in connections:
            connection.flush()

    def told(self, connection: Connection, frame: Frame) -> None:
        """LOAD, UNLOAD, STATUS and STOP."""
        if frame.kind == Kind.STOP:
            self.stop()
            return
        if frame.kind == Kind.LOAD:
            self._loaders.add(connection)
            status, body = self._load(bytes(frame.body))
        elif frame.kind == Kind.UNLOAD:
            status, body = self._unload(frame.target)
        elif frame.kind == Kind.STATUS:
            status, body = 200, self._status()
        else:
            return
        connection.send(Kind.RESULT, frame.request_id, body, status=status)

    def _load(self, body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            request = parse_load(body)
            hosted = self._models.get(request.target.encode())
            if hosted is None:
                hosted = self._host(request)
            elif request.files.form is not None and hosted.report["settled"] and not hosted.report["stage"]:
                hosted.report = {**hosted.report, "settled": False}
                self._open_last(hosted, request)
        except Exception as error:
            # The process stays: its keeper decides what becomes of it
            kind = "" if isinstance(error, SizewiseError | MemoryError) else f"{type(error).__name__}: "
            log.exception("load failed")
            return 500, {"error": f"{kind}{one_line(error)}"}
        finally:
            if self._journal is not None:
                self._journal.leave()
        return 200, dict(hosted.report)

    def _host(self, request: LoadRequest) -> Hosted:
        if self._journal is not None:
            self._journal.enter(record_of(request.target.encode()))
        loaded = load(request, shared=self._journal is not None)
        hosted = Hosted(
            name=request.model,
            version=request.version,
            model=loaded.model,
            signature=loaded.signature,
            max_batch=request.max_batch,
            report=loaded.report,
        )
        self._models[request.target.encode()] = hosted
        log.info("loaded %s: %s", request.target, orjson.dumps(loaded.report["load"]).decode())
        if loaded.second is not None:
            self._open_last(hosted, loaded.second)
        return hosted

    def _open_last(self, hosted: Hosted, request: LoadRequest) -> None:
        form = request.files.form
        assert form is not None, "a last session is one on a form"

        def swap(model: LoadedModel, open_s: float) -> "Future[LoadedModel]":
            before = Future[LoadedModel]()

            def put() -> None:
                before.set_result(hosted.swap(model))
                self._settle(request.target, hosted, stage=form.name, second_s=open_s)

            self._loop.call_soon_threadsafe(put)
            return before

        def failed() -> None:
            self._loop.call_soon_threadsafe(lambda: self._settle(request.target, hosted))

        open_last(request, swap=swap, failed=failed)

    def _settle(self, target: str, hosted: Hosted, **news: Any) -> None:
        """It stays with the session that it has now: said to whoever ordered the load, or asks later."""
        hosted.report = {**hosted.report, **news, "settled": True}
        for connection in self._loaders:
            connection.send(Kind.SETTLED, 0, {"target": target, "stage": hosted.report["stage"], **news})
        self.flush()

    def _unload(self, target: bytes) -> tuple[int, dict[str, Any]]:
        hosted = self._models.get(target)
        while self._journal is not None and hosted is not None and hosted.waiting:
            self._work_at(target, hosted)  # a process of its own would answer what it has received before it ends
        self._models.pop(target, None)
        if hosted is None:
            return NO_SUCH_MODEL, {"error": f"replica {self._id} does not hold {target.decode(errors='replace')}"}
        hosted.refuse_all(STOPPING, f"model {hosted.name!r} was unloaded: send the request again")
        del hosted
        release_memory()
        return 200, {}

    def _status(self) -> dict[str, Any]:
        models = [
            {
                "target": target.decode(),
                "max_batch": hosted.batch.most,
                "batch": hosted.batch.size,
                "waiting": len(hosted.waiting),
                "batches": hosted.batches,
                "rows": hosted.rows,
                "errors": hosted.errors,
            }
            for target, hosted in self._models.items()
        ]
        return {"replica_id": self._id, "pid": os.getpid(), "models": models, "memory_bytes": rss_anon_bytes()}

    def stop(self) -> None:
        """Answer what has been received, then end."""
        self._stopping = True
        if not self._scheduled:
            self._end()

    def _end(self) -> None:
        self.flush()
        for connection in tuple(self.connections):
            connection.close()
        # One that does not read its answers, or that has just arrived, may not hold this up for ever
        self._loop.call_later(FLUSH_LIMIT_S if self.connections else 0, self._finished)

    def left(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._loaders.discard(connection)
        if self._stopping and not self.connections and not self._scheduled:
            self._finished()
