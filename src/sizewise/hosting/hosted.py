"""One loaded model: what waits for it, which requests are computed together, and their answers."""

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from sizewise.core.batching import BatchSize
from sizewise.protocols.oip import InferRequest, RequestError, Signature
from sizewise.protocols.oip.arrays import Array, gather
from sizewise.protocols.oip.encode import WHOLE, Answer, Encoder, Output
from sizewise.protocols.oip.quick import decode
from sizewise.runtimes import LoadedModel
from sizewise.runtimes.base import one_line

log = logging.getLogger(__name__)

MAX_U16 = 65535
GATEWAY_TIMEOUT = 504
SPLIT_BELOW_BYTES = 1 << 20
"""Rows of outputs up to this size are written in one go."""


class Sink(Protocol):
    """Where answers go; a peer that has gone takes them and does nothing."""

    def answer(self, pending: "Pending", answer: Answer, *, batch: "Batch") -> bool:
        """Whether somebody still waited for it."""
        ...

    def refuse(self, pending: "Pending", status: int, text: str) -> None: ...


class Batch:
    """What the answers of one call share."""

    __slots__ = ("elapsed_ns", "lead", "rows")

    def __init__(self, rows: int, elapsed_ns: int) -> None:
        self.rows = min(rows, MAX_U16)
        self.elapsed_ns = elapsed_ns
        self.lead = True
        """The next answer is the first one."""


class Pending:
    """One request that has been received and not answered."""

    __slots__ = (
        "alone",
        "arrived_ns",
        "body",
        "deadline_ns",
        "dropped",
        "encoding",
        "json_bytes",
        "request",
        "request_id",
        "sink",
    )

    def __init__(self, sink: Sink, frame: Any, *, alone: bool, arrived_ns: int) -> None:
        self.sink = sink
        self.request_id: int = frame.request_id
        self.body: bytes | memoryview = frame.body
        self.json_bytes: int = frame.json_bytes
        self.encoding: int = frame.encoding
        self.deadline_ns: int = frame.deadline_ns
        self.alone = alone
        self.arrived_ns = arrived_ns
        self.dropped = False
        self.request: InferRequest | None = None

    def drop(self) -> None:
        """Nobody waits for it any more."""
        self.dropped = True
        self.body = b""
        self.request = None


Group = list[Pending]


class Hosted:
    """A model and its queue. ``work`` computes one batch; between batches others get their turn."""

    def __init__(
        self, *, name: str, version: str, model: LoadedModel, signature: Signature, max_batch: int, report: Any
    ) -> None:
        self.name = name
        self.report = report
        self.batch = BatchSize(max_batch)
        self.waiting: deque[Pending] = deque()
        self.batches = 0
        self.rows = 0
        self.errors = 0
        self._model = model
        self._signature = signature
        self._encoder = Encoder(name, version, signature)

    def swap(self, model: LoadedModel) -> LoadedModel:
        """Answer from ``model`` from the next batch on; the one before."""
        before, self._model = self._model, model
        return before

    def work(self) -> None:
        """Take what waits, up to as many rows as pay, compute and answer it."""
        began_ns = time.monotonic_ns()
        for group in self._take(began_ns):
            self._compute(group, began_ns)
            began_ns = time.monotonic_ns()

    def refuse_all(self, status: int, text: str) -> None:
        for pending in self.waiting:
            if not pending.dropped:
                pending.sink.refuse(pending, status, text)
        self.waiting.clear()

    def _take(self, now_ns: int) -> Sequence[Group]:
        """Requests to compute now, those that can be one call together. What is wrong or late is answered here."""
        groups: dict[Any, Group] = {}
        rows, waiting = 0, self.waiting
        most = self.batch.next(len(waiting))
        while waiting and rows < most:
            pending = waiting[0]
            if pending.dropped or not self._ready(pending, now_ns):
                waiting.popleft()
                continue
            request = pending.request
            assert request is not None
            count = request.rows
            if rows and (pending.alone or rows + count > most):
                break
            waiting.popleft()
            key = (request.outputs, *[(tensor.datatype, tensor.shape[1:]) for tensor in request.inputs])
            groups.setdefault(key, []).append(pending)
            rows += count
            if pending.alone:
                break
        return tuple(groups.values())

    def _ready(self, pending: Pending, now_ns: int) -> bool:
        """Decoded, valid and in time; otherwise it has been answered."""
        if 0 < pending.deadline_ns < now_ns:
            return self._late(pending, now_ns)
        if pending.request is not None:
            return True
        try:
            request = decode(
                pending.body, signature=self._signature, encoding=pending.encoding, json_bytes=pending.json_bytes
            )
        except Exception as error:
            self._fail(pending, error)
            return False
        pending.request = request
        if request.parameters is not None and request.timeout_us:
            limit_ns = pending.arrived_ns + request.timeout_us * 1000
            pending.deadline_ns = min(pending.deadline_ns or limit_ns, limit_ns)
            if pending.deadline_ns < now_ns:
                return self._late(pending, now_ns)
        return True

    def _late(self, pending: Pending, now_ns: int) -> bool:
        late_ms = (now_ns - pending.deadline_ns) / 1e6
        text = f"model {self.name!r}: the deadline passed {late_ms:.0f} ms before the request's turn"
        pending.sink.refuse(pending, GATEWAY_TIMEOUT, f"{text}: allow more time or send less at once")
        return False

    def _compute(self, group: Group, began_ns: int) -> None:
        """One call for all; where that fails each of them alone, so that only the guilty one hears of it."""
        requests = [pending.request for pending in group if pending.request is not None]
        rows = sum(request.rows for request in requests)
        self.batches += 1
        self.rows += rows
        try:
            outputs = self._encoder.outputs(self._call(requests))
            if len(group) > 1:
                self._check_split(outputs, rows)
        except Exception as error:
            if len(group) == 1:
                self._fail(group[0], error)
                return
            log.warning("model %s: %d requests failed together, trying one by one: %s", self.name, len(group), error)
            for pending in group:
                self._compute([pending], time.monotonic_ns())
            return
        answers = self._answers(group, outputs)
        batch = Batch(rows, time.monotonic_ns() - began_ns)
        self.batch.called(rows, batch.elapsed_ns / 1e9)
        for pending, answer in answers:
            if pending.sink.answer(pending, answer, batch=batch):
                batch.lead = False

    def _call(self, requests: list[InferRequest]) -> dict[str, Array]:
        specs = self._signature.by_name
        columns = zip(*(request.inputs for request in requests), strict=True)
        inputs = {column[0].name: gather(column, specs.get(column[0].name)) for column in columns}
        return self._model.run(inputs, requests[0].outputs)

    def _check_split(self, outputs: list[Output], rows: int) -> None:
        for output in outputs:
            if not output.array.ndim or len(output.array) != rows:
                # Its first dimension is no batch after all: never put its requests together again
                self.batch.never()
                raise ValueError(f"output {output.name!r} of {rows} rows has shape {list(output.array.shape)}")

    def _answers(self, group: Group, outputs: list[Output]) -> list[tuple[Pending, Answer]]:
        """Encoded answers; a request that asked for a form which cannot carry them has been refused."""
        if len(group) > 1:
            for output in outputs:
                if output.array.nbytes <= SPLIT_BELOW_BYTES:
                    output.split_rows()
        answers = []
        for pending, rows in _slices(group):
            assert pending.request is not None
            try:
                answers.append((pending, self._encoder.answer(pending.request, outputs, rows)))
            except Exception as error:
                self._fail(pending, error)
        return answers

    def _fail(self, pending: Pending, error: Exception) -> None:
        if isinstance(error, RequestError):
            pending.sink.refuse(pending, error.status, str(error))
            return
        self.errors += 1
        kind = "" if isinstance(error, MemoryError) else f"{type(error).__name__}: "
        text = f"model {self.name!r} failed: {kind}{one_line(error)}"
        log.error("%s", text, exc_info=error)
        pending.sink.refuse(pending, 500, text)


def _slices(group: Group) -> Iterator[tuple[Pending, slice]]:
    """Which rows of the outputs are whose."""
    if len(group) == 1:
        yield group[0], WHOLE
        return
    start = 0
    for pending in group:
        assert pending.request is not None
        stop = start + pending.request.rows
        yield pending, slice(start, stop)
        start = stop
