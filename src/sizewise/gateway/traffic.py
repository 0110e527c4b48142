"""Counters of one model: plain integers, since a metrics library costs more than the rest of a request."""

from bisect import bisect_left
from collections import deque

from sizewise.core.histogram import BOUNDS_S, BUCKETS
from sizewise.protocols.backend import ModelTraffic

MAX_SAMPLES = 512
"""Batches kept until they are read; the oldest go first."""


class Traffic:
    """What `ModelTraffic` reports, while it is being counted. See there for what each counter means."""

    __slots__ = (
        "answer_s",
        "answered",
        "arrivals",
        "batches",
        "cancelled",
        "client_errors",
        "cold_held",
        "compute_s",
        "errors",
        "last_arrival_s",
        "latency_counts",
        "rows",
        "samples",
        "shed",
        "within_slo",
    )

    def __init__(self) -> None:
        self.arrivals = self.answered = self.client_errors = self.errors = self.shed = 0
        self.cancelled = self.within_slo = self.cold_held = self.rows = self.batches = 0
        self.last_arrival_s: float | None = None
        self.latency_counts = [0] * BUCKETS
        self.samples: deque[tuple[int, float]] = deque(maxlen=MAX_SAMPLES)
        self.answer_s = self.compute_s = 0.0

    def settle(self, status: int, latency_s: float, slo_s: float, *, compute_s: float) -> None:
        """One answer of a replica. ``compute_s`` is the call it came from, which other requests may have shared."""
        if status < 400:
            self.answered += 1
            self.answer_s += latency_s
            self.compute_s += compute_s
            self.latency_counts[bisect_left(BOUNDS_S, latency_s)] += 1
            if latency_s <= slo_s:
                self.within_slo += 1
        elif status < 500:
            self.client_errors += 1
        else:
            self.errors += 1

    def batch(self, rows: int, seconds: float) -> None:
        """One call of the model."""
        self.rows += rows
        self.batches += 1
        self.samples.append((rows, seconds))

    def report(self, model: str, *, queued: int, in_flight: int, held: int) -> ModelTraffic:
        """All counters; hands out the batch samples, each once."""
        samples = tuple(self.samples)
        self.samples.clear()
        return ModelTraffic(
            model=model,
            arrivals=self.arrivals,
            answered=self.answered,
            client_errors=self.client_errors,
            errors=self.errors,
            shed=self.shed,
            cancelled=self.cancelled,
            within_slo=self.within_slo,
            cold_held=self.cold_held,
            rows=self.rows,
            batches=self.batches,
            answer_s=self.answer_s,
            compute_s=self.compute_s,
            queued=queued,
            in_flight=in_flight,
            held=held,
            last_arrival_s=self.last_arrival_s,
            latency_counts=tuple(self.latency_counts),
            batch_samples=samples,
        )
