"""What one window of load showed, and whether the generator was what limited it."""

from collections import Counter
from dataclasses import dataclass, field

from sizewise.loadgen.sketch import Sketch, upper_s

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
BUSY = 0.9
"""Share of one core from which the generator may be what limits: answers wait for it, not it for answers."""
LATE_S = 0.001
"""Lateness at p99 that is not worth a word."""
LATE_SHARE = 0.25
"""Share of the latency at p99 that the generator's own lateness may make up."""
SLICES = 50
"""Of a window: as many as a picture can show, and each still has samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds; None without samples."""

    p50_s: float | None
    p90_s: float | None
    p95_s: float | None
    p99_s: float | None
    p99_9_s: float | None
    max_s: float | None
    mean_s: float | None
    histogram: tuple[tuple[float, int], ...]
    """Upper bound in seconds and count, ascending; bounds grow by 2 %, empty ones are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A slice of the window. Requests count where they were due, answers where they came."""

    at_s: float
    """Its begin, from that of the window."""
    due_per_s: float
    answered_per_s: float
    """Good answers."""
    errors: int
    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Figures of one run at one load. Latency counts requests answered with 200 to 399."""

    kind: str
    """``closed``: each connection sends when it was answered; ``open``: requests leave at their own times."""
    seconds: float
    connections: int
    """Open at the same time, at most."""
    offered_per_s: float | None
    """What the schedule asked for; None for a closed loop, which asks for nothing."""
    answered_per_s: float
    """Good answers that arrived within the window."""
    sent: int
    statuses: dict[str, int]
    failures: dict[str, int]
    """Requests without an answer, by reason."""
    latency: Latency
    """From the moment a request was due: what a caller who does not wait for others sees."""
    service: Latency
    """From the moment it was sent; hides what a slow answer did to the requests behind it."""
    attainment: float | None
    """Share of requests that were answered well and in time, 0 to 1; None without an SLO."""
    lag_p99_s: float
    """How late the generator came to what was due, at p99: its own fault, or that of a machine with too few cores.
    In a closed loop nothing is due, so a timer is watched instead."""
    cpu_share: float
    """Of one core, used by the generator."""
    moments: tuple[Moment, ...]
    """How it went, in slices of equal length."""
    bottleneck: str | None
    """Why the generator limited what was measured; None when it did not."""

    @property
    def errors(self) -> int:
        bad = sum(count for status, count in self.statuses.items() if not "200" <= status < "400")
        return bad + sum(self.failures.values())


@dataclass(slots=True)
class Slice:
    due: int = 0
    good: int = 0
    errors: int = 0
    latency: Sketch = field(default_factory=Sketch)


@dataclass(slots=True)
class Tally:
    """Counts while load runs. Requests due outside [from_s, until_s) are sent and not counted."""

    from_s: float
    until_s: float
    slo_s: float | None = None
    sent: int = 0
    good: int = 0
    in_slo: int = 0
    slices: tuple[Slice, ...] = field(default_factory=lambda: tuple(Slice() for _ in range(SLICES)))
    _slot: tuple[Slice, ...] = field(init=False)
    _slots_per_s: float = field(init=False)
    service: Sketch = field(default_factory=Sketch)
    lag: Sketch = field(default_factory=Sketch)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._slot = (*self.slices, self.slices[-1])  # twice: rounding may reach one too far
        self._slots_per_s = SLICES / (self.until_s - self.from_s)

    def slice_of(self, at_s: float) -> Slice:
        """``at_s`` lies within the window."""
        return self._slot[int((at_s - self.from_s) * self._slots_per_s)]

    def submitted(self, due_s: float) -> None:
        if self.from_s <= due_s < self.until_s:
            self.sent += 1
            self.slice_of(due_s).due += 1

    def came(self, due_s: float, now_s: float) -> None:
        """The generator came to what was due."""
        if self.from_s <= due_s < self.until_s:
            self.lag.add(now_s - due_s)

    def answered(self, status: int, *, due_s: float, sent_s: float, now_s: float) -> None:
        good = 200 <= status < 400
        if good and self.from_s <= now_s < self.until_s:
            self.good += 1
            self.slice_of(now_s).good += 1
        if not self.from_s <= due_s < self.until_s:
            return
        self.statuses[status] += 1
        of_due = self.slice_of(due_s)
        if good:
            of_due.latency.add(now_s - due_s)
            self.service.add(now_s - sent_s)
            self.in_slo += self.slo_s is not None and now_s - due_s <= self.slo_s
        else:
            of_due.errors += 1

    def failed(self, reason: str, due_s: float) -> None:
        if self.from_s <= due_s < self.until_s:
            self.failures[reason] += 1
            self.slice_of(due_s).errors += 1

    def latency(self) -> Sketch:
        """From when requests were due, over the whole window."""
        whole = Sketch()
        for each in self.slices:
            whole.merge(each.latency)
        return whole


def window_of(tally: Tally, *, offered_per_s: float | None, connections: int, cpu_share: float) -> Window:
    seconds = tally.until_s - tally.from_s
    lag_p99_s, latency = tally.lag.quantile(0.99) or 0.0, tally.latency()
    limited = limit_of(cpu_share, lag_p99_s=lag_p99_s, latency_p99_s=latency.quantile(0.99))
    return Window(
        kind="closed" if offered_per_s is None else "open",
        seconds=seconds,
        connections=connections,
        offered_per_s=offered_per_s,
        answered_per_s=tally.good / seconds,
        sent=tally.sent,
        statuses={str(status): count for status, count in sorted(tally.statuses.items())},
        failures=dict(sorted(tally.failures.items())),
        latency=_latency(latency),
        service=_latency(tally.service),
        attainment=tally.in_slo / tally.sent if tally.slo_s is not None and tally.sent else None,
        lag_p99_s=lag_p99_s,
        cpu_share=cpu_share,
        moments=_moments(tally, seconds / SLICES),
        bottleneck=limited,
    )


def limit_of(cpu_share: float, *, lag_p99_s: float, latency_p99_s: float | None) -> str | None:
    """Why the generator limits what is measured, or None. Being late is weighed against what was measured."""
    if cpu_share > BUSY:
        return f"it used {cpu_share:.0%} of a core"
    if lag_p99_s > max(LATE_S, LATE_SHARE * (latency_p99_s or 0.0)):
        return f"1 time in 100 it came {lag_p99_s * 1000:.1f} ms late or more, using {cpu_share:.0%} of a core"
    return None


def _moments(tally: Tally, length_s: float) -> tuple[Moment, ...]:
    return tuple(
        Moment(
            at_s=i * length_s,
            due_per_s=each.due / length_s,
            answered_per_s=each.good / length_s,
            errors=each.errors,
            p50_s=each.latency.quantile(0.5),
            p99_s=each.latency.quantile(0.99),
        )
        for i, each in enumerate(tally.slices)
    )


def _latency(sketch: Sketch) -> Latency:
    p50_s, p90_s, p95_s, p99_s, p99_9_s = (sketch.quantile(q) for q in QUANTILES)
    return Latency(
        p50_s=p50_s,
        p90_s=p90_s,
        p95_s=p95_s,
        p99_s=p99_s,
        p99_9_s=p99_9_s,
        max_s=sketch.max_s if sketch.total else None,
        mean_s=sketch.mean(),
        histogram=tuple((upper_s(bucket), count) for bucket, count in sorted(sketch.counts.items())),
    )
