"""Totals that only grow, over restarts of gateway and controller.

The gateway counts from zero whenever it starts and names each start with an epoch. What it counted since the last
look is added here, to the version that served meanwhile. Lost are only requests between the last look at a gateway
and its death.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import zip_longest
from operator import attrgetter

from sizewise.protocols.backend import ModelTraffic, Snapshot
from sizewise.protocols.serde import from_jsonable, to_jsonable


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counters as in ``ModelTraffic``, since the model was first deployed."""

    arrivals: int = 0
    answered: int = 0
    client_errors: int = 0
    errors: int = 0
    shed: int = 0
    cancelled: int = 0
    within_slo: int = 0
    cold_held: int = 0
    rows: int = 0
    batches: int = 0
    answer_s: float = 0.0
    compute_s: float = 0.0
    latency_counts: tuple[int, ...] = ()

    def plus(self, other: "Totals") -> "Totals":
        return _combine(self, other, 1)

    def minus(self, other: "Totals") -> "Totals":
        return _combine(self, other, -1)


_COUNTS = tuple(f.name for f in fields(Totals) if f.name != "latency_counts")
_COUNTS_OF = attrgetter(*_COUNTS)


def totals_of(traffic: ModelTraffic) -> Totals:
    counts = {name: getattr(traffic, name) for name in _COUNTS}
    return Totals(**counts, latency_counts=traffic.latency_counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Book:
    """What is kept in the state."""

    epoch: str = ""
    seen: dict[str, Totals] = field(default_factory=dict)
    """Last look, by model."""
    totals: dict[str, dict[str, Totals]] = field(default_factory=dict)
    """By model and version."""


class Counters:
    def __init__(self, kept: object = None) -> None:
        self._book = from_jsonable(_Book, kept) if kept else _Book()
        self._sums: dict[str, Totals] = {}
        self._last: dict[str, ModelTraffic] = {}
        """What was absorbed last: most models are as they were."""

    def absorb(self, snapshot: Snapshot, versions: Mapping[str, str]) -> None:
        """Add what is new. ``versions`` tells which version of each model serves."""
        if snapshot.traffic_at_s is None:
            return
        if snapshot.gateway_epoch != self._book.epoch:
            self._book = replace(self._book, epoch=snapshot.gateway_epoch, seen={})
            self._last.clear()
        for traffic in snapshot.traffic:
            last = self._last.get(traffic.model)
            if traffic is last or traffic == last:
                continue
            version = versions.get(traffic.model)
            if version is None:
                continue
            self._last[traffic.model] = traffic
            now, before = totals_of(traffic), self._book.seen.get(traffic.model, Totals())
            if now == before:
                continue
            new = now.minus(before)
            self._book.seen[traffic.model] = now
            self._sums.pop(traffic.model, None)
            by_version = self._book.totals.setdefault(traffic.model, {})
            by_version[version] = by_version.get(version, Totals()).plus(new)

    def forget(self, model: str) -> None:
        """An undeployed model. What the gateway has counted so far stays seen, and is not counted a second time."""
        self._book.totals.pop(model, None)
        self._sums.pop(model, None)

    def by_version(self, model: str) -> Mapping[str, Totals]:
        return self._book.totals.get(model, {})

    def total(self, model: str) -> Totals:
        known = self._sums.get(model)
        if known is None:
            known = Totals()
            for totals in self.by_version(model).values():
                known = known.plus(totals)
            self._sums[model] = known
        return known

    def to_keep(self) -> object:
        return to_jsonable(self._book)


def _combine(left: Totals, right: Totals, sign: int) -> Totals:
    counts = [max(0, mine + sign * other) for mine, other in zip(_COUNTS_OF(left), _COUNTS_OF(right), strict=True)]
    pairs = zip_longest(left.latency_counts, right.latency_counts, fillvalue=0)
    latency_counts = tuple([max(0, mine + sign * other) for mine, other in pairs])
    return Totals(**dict(zip(_COUNTS, counts, strict=True)), latency_counts=latency_counts)
