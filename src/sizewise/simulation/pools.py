"""Requests at the replicas of each model: what the gateway and the replicas do between two decisions.

Two engines answer to ``Pools``: ``plain`` runs the gateway's own classes, ``fast`` a compiled kernel that behaves the
same, request by request (a contract test replays equal arrivals through both). Letters at the end of names: ``M``
models, ``T`` minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sizewise.simulation.scenario import Dispatch
from sizewise.simulation.workload import Block, Floats

LATENCY_LOW_S = 1e-5
PER_DECADE = 128
LATENCY_BINS = 9 * PER_DECADE
"""From 10 us to 10 000 s; a quantile read off them is within 1 % (10 ** (1 / 256))."""
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSetup:
    """How requests of one model are handled."""

    curve_s: Floats
    """Mean seconds of a batch, by its size; entry 0 is not used."""
    factors: Floats
    """Service times vary by these, one after the other."""
    first_factor: int = 0
    max_batch: int = 1
    max_in_flight: int = 64
    max_queue: int = 1024
    slo_s: float | None = None
    """What counts as in time; None: everything answered."""
    sheds: bool = True
    """Whether what would be late is refused on arrival."""
    service_s: float = 0.01
    timeout_s: float = 30.0
    hold_s: float = 60.0
    dispatch: Dispatch = Dispatch.LEAST_OUTSTANDING


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one model since the beginning."""

    arrived: int
    served: int
    shed: int
    failed: int
    within: int
    held: int
    """Had to wait because no replica was ready."""
    queued: int
    outstanding: int
    last_arrival_s: float | None
    concurrency_s: float
    """Requests in flight, queued ones included, summed over time."""


@dataclass(slots=True)
class Record:
    """What happened to requests; both engines write into one."""

    counted_from_s: float
    latency: NDArray[np.int64]
    in_time_MT: NDArray[np.int32]
    """By model and minute of arrival."""
    ended_MT: NDArray[np.int32]
    """Served, shed or failed, by model and minute of arrival."""


def record_for(models: int, end_s: float, *, counted_from_s: float = 0.0) -> Record:
    minutes = max(1, int(np.ceil(end_s / MINUTE_S)))
    shape = (models, minutes)
    return Record(
        counted_from_s,
        np.zeros(LATENCY_BINS, dtype=np.int64),
        np.zeros(shape, dtype=np.int32),
        np.zeros(shape, dtype=np.int32),
    )


def quantile_s(latency: NDArray[np.int64], share: float) -> float | None:
    """Of the served; None when there are none."""
    total = int(latency.sum())
    if not total:
        return None
    summed = np.cumsum(latency)
    i = int(np.searchsorted(summed, share * total))
    inside = (share * total - (summed[i] - latency[i])) / latency[i]
    return float(LATENCY_LOW_S * 10 ** ((i + inside) / PER_DECADE))


class Pools(Protocol):
    """All models. A slot is a number that names one replica."""

    @property
    def record(self) -> Record: ...

    def feed(self, block: Block) -> None:
        """The next arrivals; those before have all been advanced past."""
        ...

    def advance(self, model: int, until_s: float) -> None: ...

    def advance_all(self, until_s: float) -> None: ...

    def add(self, model: int) -> int:
        """A replica is ready now, that is where the model was advanced to."""
        ...

    def drain(self, slot: int) -> None:
        """Gives it nothing more."""
        ...

    def drop(self, slot: int) -> None:
        """Forgets one that drained."""
        ...

    def slow(self, slot: int, factor: float) -> None:
        """Batches that begin from now on take so many times as long."""
        ...

    def outstanding(self, slot: int) -> int: ...

    def busy_s(self, slot: int) -> float:
        """Seconds of work so far."""
        ...

    def idle_since_s(self, slot: int) -> float: ...

    def counts(self, model: int) -> Counts: ...

    def next_arrival_s(self, model: int) -> float:
        """Infinite when this block has no more."""
        ...


def curve_of(points_s: Sequence[tuple[int, float]], max_batch: int) -> Floats:
    """Straight between points, as steep as between the last two beyond; never falling."""
    sizes = [batch for batch, _ in points_s]
    values = np.maximum.accumulate([seconds for _, seconds in points_s])
    batches = np.arange(max_batch + 1, dtype=np.float64)
    curve = np.interp(batches, sizes, values)
    if len(sizes) > 1:
        slope = (values[-1] - values[-2]) / (sizes[-1] - sizes[-2])
        curve += np.maximum(0.0, batches - sizes[-1]) * slope
    elif max_batch > sizes[0]:
        curve = np.maximum(1.0, batches / sizes[0]) * values[0]
    return np.asarray(curve, dtype=np.float64)
