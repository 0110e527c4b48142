"""What has been seen of each model: demand, live figures, deaths, the last minute. Fed by snapshots only."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from sizewise.controller.charges import charged_bytes
from sizewise.controller.counters import Counters, Totals
from sizewise.controller.records import ModelRecord
from sizewise.core import demand as demands
from sizewise.core import estimates, forecast, histogram
from sizewise.core.demand import DemandState, Reading
from sizewise.core.estimates import LiveEstimate
from sizewise.core.fleet import Demand, ModelDecision, ReplicaState
from sizewise.core.forecast import ForecastState, Seen
from sizewise.core.holding import hold_s
from sizewise.core.profiles import ModelProfile
from sizewise.core.seasonal import BINS, Season
from sizewise.core.sizing import TICK_S, window_s
from sizewise.core.warmth import WAIT_PRICE, memory_share
from sizewise.protocols.backend import ModelTraffic, ReplicaObserved, Snapshot
from sizewise.protocols.serde import from_jsonable, to_jsonable

METRIC_LAG_S = 1.0
"""Counters are this old at worst when a decision looks at them."""
_NO_FORECAST = ForecastState()
UNSEEN = LiveEstimate()
"""Live figures of what never ran: most models of a long catalogue."""

RECENT_S = 60.0
"""Window of the attainment and the 95th percentile that ``status`` shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What tells how far ahead a model must be seen, and how surely."""

    profiles: Mapping[str, ModelProfile]
    """By hash of the artifact."""
    memory_bytes: int
    unix_s: float


@dataclass(slots=True)
class Track:
    """One model, as far as it was seen."""

    demand: DemandState = field(default_factory=DemandState)
    live: dict[str, LiveEstimate] = field(default_factory=dict)
    """By version."""
    stages: dict[str, str] = field(default_factory=dict)
    """By version: which session, of those on a load-ready form, its live figures are of."""
    mixed: Set[str] = frozenset()
    """Versions whose replicas were not all at one session at the last look."""
    recent: deque[tuple[float, Totals]] = field(default_factory=deque)
    """Totals of the last ``RECENT_S``, oldest first; one older point stays as the base."""
    loads_seen: dict[str, float] = field(default_factory=dict)
    """Replica to the moment at which it became ready: each load is one sample."""
    forecast: ForecastState = field(default_factory=ForecastState)
    decision: ModelDecision | None = None
    state: Mapping[str, object] = field(default_factory=dict)
    """What the last decision asked to be handed back."""
    cold_starts: int = 0
    replica_seconds: float = 0.0
    memory_byte_seconds: float = 0.0

    def window(self) -> Totals:
        if len(self.recent) < 2:
            return Totals()
        return self.recent[-1][1].minus(self.recent[0][1])

    def attainment(self) -> float | None:
        window = self.window()
        finished = window.answered + window.errors + window.shed
        return min(1.0, window.within_slo / finished) if finished else None

    def p95_s(self) -> float | None:
        return histogram.quantile(self.window().latency_counts, 0.95)


class Ledger:
    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.fleet_state: Mapping[str, object] = {}
        """What the last decision asked to be handed back about all models together."""
        self._tracks: dict[str, Track] = {}
        self._seen_at_s: float | None = None

    def of(self, model: str) -> Track:
        track = self._tracks.get(model)
        if track is None:
            track = self._tracks[model] = Track()
        return track

    def forget(self, model: str) -> None:
        self._tracks.pop(model, None)
        self.counters.forget(model)

    def demand(self, model: str, now_s: float) -> Demand:
        track = self.of(model)
        seen = demands.demand(track.demand, now_s)
        if not track.forecast.guesses:
            return seen
        expected = forecast.floor_per_s(track.forecast, now_s)
        return replace(seen, forecast_per_s=expected, forecast_lead_s=track.forecast.lead_s) if expected else seen

    def live(self, model: str, version: str) -> LiveEstimate:
        return self.of(model).live.get(version, UNSEEN)

    def absorb(self, snapshot: Snapshot, records: Iterable[ModelRecord], *, outlook: Outlook) -> None:
        """Add what is new."""
        by_name = {record.name: record for record in records}
        self.counters.absorb(snapshot, {name: record.serving.version for name, record in by_name.items()})
        traffic = {t.model: t for t in snapshot.traffic}
        passed_s = 0.0 if self._seen_at_s is None else max(0.0, snapshot.at_s - self._seen_at_s)
        self._seen_at_s = snapshot.at_s
        for name, record in by_name.items():
            track = self.of(name)
            own = snapshot.replicas_of(name)
            mixed = _turn_stage(track, own) if own else frozenset[str]()
            if snapshot.traffic_at_s is not None:
                seen = traffic.get(name)
                reading = _reading(seen, track.demand.last, at_s=snapshot.traffic_at_s, epoch=snapshot.gateway_epoch)
                profile = outlook.profiles[record.serving.hash]
                load_s = profile.load.total_s
                track.demand = demands.update(
                    track.demand,
                    reading,
                    horizon_s=max(load_s, 1.0),
                    window_s=window_s(load_s, record.wants.slo),
                )
                _foresee(track, record, outlook)
                # Answers of two sessions are not told apart: neither's figures may be taken for the other's
                samples = seen.batch_samples if seen is not None and record.serving.version not in mixed else ()
                _absorb_batches(track, record, samples, at_s=snapshot.traffic_at_s)
                _remember(track.recent, snapshot.traffic_at_s, self.counters.total(name))
            _absorb_replicas(track, own, snapshot.at_s)
            track.replica_seconds += passed_s * sum([r.pid is not None for r in own])
            held = snapshot.warm_of(name)
            if own or held:
                track.memory_byte_seconds += passed_s * charged_bytes(own, held)

    def to_keep(self, boot: str) -> dict[str, Any]:
        """Live figures as JSON. ``boot`` names this run of the machine: its clock begins anew with the next."""
        models = {name: track.live for name, track in self._tracks.items() if track.live}
        seasons = {name: list(t.forecast.season.rates_per_s) for name, t in self._tracks.items()}
        return {
            "boot": boot,
            "models": to_jsonable(models, dict[str, dict[str, LiveEstimate]]),
            "seasons": {name: [round(rate, 4) for rate in rates] for name, rates in seasons.items() if rates},
        }

    def restore(self, kept: Any, boot: str) -> None:
        if not kept:
            return
        for name, live in from_jsonable(dict[str, dict[str, LiveEstimate]], kept["models"]).items():
            same_clock = kept["boot"] == boot
            self.of(name).live = live if same_clock else {v: _timeless(seen) for v, seen in live.items()}
        for name, rates in kept.get("seasons", {}).items():
            if len(rates) == 2 * BINS:
                self.of(name).forecast = ForecastState(season=Season(rates_per_s=tuple(map(float, rates))))


def _foresee(track: Track, record: ModelRecord, outlook: Outlook) -> None:
    """Carry the forecast on, as far ahead as a load takes and as surely as waiting is dearer than holding."""
    last = track.demand.last
    if last is None:
        return
    profile = outlook.profiles[record.serving.hash]
    load_s = profile.load.total_s
    live = track.live.get(record.serving.version, UNSEEN)
    lead_s = estimates.slow_load_s(load_s, live, last.at_s) + TICK_S + METRIC_LAG_S
    if lead_s < forecast.LEAST_LEAD_S:
        track.forecast = _NO_FORECAST
        return
    rate = demands.demand(track.demand, last.at_s).stable_per_s
    share = memory_share(profile.memory.replica_bytes, outlook.memory_bytes)
    seen = Seen(
        now_s=last.at_s,
        unix_s=outlook.unix_s,
        arrivals=track.demand.points[-1][1],
        rate_per_s=rate,
        lead_s=lead_s,
        # Short for a lead, everybody who comes meanwhile waits; spare, a replica is held until the hold is over
        quantile=forecast.critical_ratio(short_cost=WAIT_PRICE * rate * lead_s, spare_cost=share * hold_s(load_s)),
    )
    track.forecast = forecast.updated(track.forecast, seen)


def _turn_stage(track: Track, replicas: Sequence[ReplicaObserved]) -> Set[str]:
    """Forget the live figures of a session that gave way to another; versions whose replicas are not at one yet."""
    seen: dict[str, set[str]] = {}
    mixed, turned = set[str](), set[str]()
    for replica in replicas:
        if replica.state is ReplicaState.READY:
            seen.setdefault(replica.version, set()).add(replica.stage)
            if not replica.settled:
                mixed.add(replica.version)
    for version, stages in seen.items():
        if len(stages) > 1:
            mixed.add(version)
        elif version not in mixed and stages != {track.stages.get(version)}:
            (stage,) = stages
            if version in track.stages:
                turned.add(version)
                if version in track.live:
                    loads = track.live[version].loads if track.stages[version] else ()
                    track.live[version] = LiveEstimate(loads=loads)
            track.stages[version] = stage
    # What was counted since the last look was computed by the session before, in part
    doubtful = mixed | track.mixed | turned
    track.mixed = mixed
    return doubtful


def _absorb_batches(track: Track, record: ModelRecord, samples: tuple[tuple[int, float], ...], *, at_s: float) -> None:
    if samples:
        version = record.serving.version
        track.live[version] = estimates.with_batches(track.live.get(version, LiveEstimate()), samples, at_s)
    if track.live or track.stages:
        known = {version.version for version in record.versions}
        for gone in track.live.keys() - known:
            del track.live[gone]
        for gone in track.stages.keys() - known:
            del track.stages[gone]


def _timeless(seen: LiveEstimate) -> LiveEstimate:
    """What holds after a restart of the machine: sizes do, moments do not."""
    return LiveEstimate(mapped_bytes=seen.mapped_bytes)


def _reading(seen: ModelTraffic | None, last: Reading | None, *, at_s: float, epoch: str) -> Reading:
    if seen is None:
        # The gateway does not list a model that nobody asked it for yet: quiet, not begun anew.
        if last is None or last.epoch != epoch:
            return Reading(at_s=at_s, epoch=epoch)
        return replace(last, at_s=at_s, in_flight=0, queued=0, held=0)
    return Reading(
        at_s=at_s,
        epoch=epoch,
        arrivals=seen.arrivals,
        answered=seen.answered,
        errors=seen.errors,
        shed=seen.shed,
        within_slo=seen.within_slo,
        rows=seen.rows,
        in_flight=seen.in_flight,
        queued=seen.queued,
        held=seen.held,
        last_arrival_s=seen.last_arrival_s,
    )


def _remember(recent: deque[tuple[float, Totals]], at_s: float, totals: Totals) -> None:
    recent.append((at_s, totals))
    while len(recent) > 2 and recent[1][0] <= at_s - RECENT_S:
        recent.popleft()


def _absorb_replicas(track: Track, replicas: Sequence[ReplicaObserved], now_s: float) -> None:
    for replica in replicas:
        if replica.state is not ReplicaState.READY or not replica.settled:
            continue
        live = track.live.get(replica.version, LiveEstimate())
        ready_at_s = replica.ready_at_s if replica.ready_at_s is not None else replica.since_s
        if replica.load is not None and track.loads_seen.get(replica.replica_id) != ready_at_s:
            track.loads_seen[replica.replica_id] = ready_at_s
            live = estimates.with_load(live, replica.load, now_s)
        track.live[replica.version] = estimates.with_memory(
            live,
            # What a replica adds to a process that it shares says nothing about one of its own
            private_bytes=0 if replica.host else replica.memory_bytes,
            mapped_bytes=replica.mapped_bytes,
            now_s=now_s,
        )
    if not track.loads_seen:
        return
    for gone in track.loads_seen.keys() - {replica.replica_id for replica in replicas}:
        del track.loads_seen[gone]
