"""A model inside the gateway's own process: what arrives in one turn of the loop is one batch, computed in its next.

Only for models of which one call is shorter than a wake-up of another process, of data formats, and where their owner
says so. A crash of its runtime is a crash of the gateway: the keeper then runs the model in a process of its own.
"""

from __future__ import annotations

import asyncio
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING, Any

from sizewise.gateway.exchange import Exchange
from sizewise.gateway.replica import Replica
from sizewise.protocols.frames import Encoding, Frame, Kind

if TYPE_CHECKING:
    from sizewise.hosting.hosted import Batch, Hosted, Pending
    from sizewise.protocols.oip.encode import Answer


class Inline:
    """The models that this process holds, by replica."""

    def __init__(self) -> None:
        self.hosted: dict[str, Hosted] = {}

    async def load(self, replica_id: str, body: bytes) -> dict[str, Any]:
        """Load as a replica would. Its report; raises what a runtime raises. What is loaded already reports again."""
        known = self.hosted.get(replica_id)
        if known is None:
            # numpy and the runtimes come with the first model that asks for this, and not to every gateway
            known = self.hosted[replica_id] = await asyncio.to_thread(_load, body)
        return dict(known.report)

    def drop(self, replica_id: str) -> None:
        self.hosted.pop(replica_id, None)


def _load(body: bytes) -> Hosted:
    from sizewise.hosting.hosted import Hosted
    from sizewise.hosting.loading import load, parse_load

    request = parse_load(body)
    loaded = load(request)
    return Hosted(
        name=request.model,
        version=request.version,
        model=loaded.model,
        signature=loaded.signature,
        max_batch=request.max_batch,
        report=loaded.report,
    )


class InlineReplica(Replica):
    """Routing sees a replica like any other; answers come from this process."""

    def __init__(self, replica_id: str, held: Inline, *, version: str, max_outstanding: int) -> None:
        super().__init__(replica_id, version=version, max_outstanding=max_outstanding)
        self._held = held
        self._waiting: dict[int, Pending] = {}
        self._scheduled = False

    def start(self) -> None:
        """A gateway that was started again holds no model: then it stays unreachable until its keeper moves it."""
        self.connected = self.replica_id in self._held.hosted
        if self.connected and self.model is not None:
            self.model.find_ready()

    def poke(self) -> None:
        self.start()

    def send(self, x: Exchange, now_s: float) -> None:
        from sizewise.hosting.hosted import Pending

        number = self.take(x, now_s)
        frame = Frame(
            kind=Kind.INFER,
            request_id=number,
            body=x.joined(),
            encoding=x.encoding,
            deadline_ns=int(x.deadline_s * 1e9),
            json_bytes=x.json_bytes,
        )
        pending = Pending(self, frame, alone=x.deaths > 0, arrived_ns=monotonic_ns())
        self._waiting[number] = pending
        self._held.hosted[self.replica_id].waiting.append(pending)
        self._soon()

    def _soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self) -> None:
        """One batch; clients that wrote meanwhile are read before the next."""
        self._scheduled = False
        hosted = self._held.hosted.get(self.replica_id)
        if hosted is None:
            return
        had = bool(self.pending)
        hosted.work()
        now_s = monotonic()
        if hosted.waiting:
            self._soon()
        if had and not self.pending:
            self.became_idle(now_s)
        if self.model is not None and (self.model.queue or self.model.reserved is not None):
            self.model.pump(now_s)

    # What ``Hosted`` says ---------------------------------------------------------------------------------------

    def answer(self, pending: Pending, answer: Answer, *, batch: Batch) -> bool:
        x = self._done(pending)
        if x is None or x.model is None:
            return False
        compute_s = batch.elapsed_ns / 1e9
        if batch.lead:
            x.model.traffic.batch(batch.rows, compute_s)
        x.model.settle(x, 200, monotonic(), compute_s=compute_s)
        parts, binary = answer.parts, answer.encoding == Encoding.V2_BINARY
        length = sum(map(len, parts))
        start = x.head_of_result(200, length, binary=binary, json_bytes=answer.json_bytes)
        # Joined, since views are the model's own arrays, which the next batch may write to
        x.connection.answer(x, b"".join((start, *parts)))
        return True

    def refuse(self, pending: Pending, status: int, text: str) -> None:
        x = self._done(pending)
        if x is not None and x.model is not None:
            x.model.settle(x, status, monotonic())
            x.fail(status, text)

    def _done(self, pending: Pending) -> Exchange | None:
        self._waiting.pop(pending.request_id, None)
        return self.release(pending.request_id)

    def cancel(self, x: Exchange) -> None:
        pending = self._waiting.pop(x.number, None)
        if pending is not None:
            pending.drop()
        if self.release(x.number) is not None and not self.pending:
            self.became_idle(monotonic())

    def close(self) -> None:
        self.leaving = True
        self.connected = False
        self._held.drop(self.replica_id)
