"""Live figures: what production says about latency, load time and memory, and when it is believed over the profile."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, Memory, ModelProfile, Source

HALF_LIFE_S = 4.0
"""A batch this much older counts half: the median follows a lasting change within a few of these (the 95th percentile
falls back after log2(20) = 4.3 of them), and a single outlier moves neither."""

BATCH_KEPT_S = 30.0
"""Batches older than this say nothing against a measured profile. Against a mere estimate they are kept."""

ENOUGH_BATCHES = 8
ENOUGH_READINGS = 5
LOADS_KEPT = 5
LOADS_KEPT_S = 3600.0
MEMORY_KEPT_S = 60.0

_PER_UPDATE = 8
_KEPT = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEstimate:
    """What one version of one model has shown. Empty at first; every update returns a new value."""

    batches: tuple[tuple[float, int, float], ...] = ()
    """(time, rows, seconds), oldest first."""
    loads: tuple[tuple[float, LoadTime], ...] = ()
    memory: tuple[tuple[float, int], ...] = ()
    """(time, private bytes of one replica at work)."""
    mapped_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One figure as profiled and as seen live. ``live`` is None until there are enough samples."""

    figure: str
    """``p50_s[8]``, ``p95_s[8]``, ``load_s``, ``replica_bytes`` or ``mapped_bytes``."""
    profiled: float
    live: float | None
    samples: int
    age_s: float | None
    """Seconds since the newest sample; None without one."""


def with_batches(live: LiveEstimate, samples: Iterable[tuple[int, float]], now_s: float) -> LiveEstimate:
    """Adds (rows, seconds) of batches computed since the last call. Impossible ones are dropped.

    Of many batches of a like size a few order statistics stand for all, so that a busy second does not push out the
    quiet ones before it.
    """
    groups: dict[int, list[tuple[float, int]]] = {}
    for rows, seconds in samples:
        if rows >= 1 and math.isfinite(seconds) and seconds > 0:
            groups.setdefault(_size_class(rows), []).append((seconds, rows))
    fresh = [(now_s, rows, seconds) for group in groups.values() for seconds, rows in _standing_for(sorted(group))]
    if not fresh:
        return live
    return replace(live, batches=(*live.batches, *fresh)[-_KEPT:])


def with_load(live: LiveEstimate, load: LoadTime, now_s: float) -> LiveEstimate:
    """Adds the measured stages of one load."""
    if not (math.isfinite(load.total_s) and load.total_s > 0):
        return live
    return replace(live, loads=(*live.loads, (now_s, load))[-LOADS_KEPT:])


def with_memory(live: LiveEstimate, *, private_bytes: int, mapped_bytes: int, now_s: float) -> LiveEstimate:
    """Adds one reading of a ready replica: private bytes, mapped pages of its artifact."""
    if private_bytes <= 0:
        return live
    kept = live.memory[-63:]
    if kept and now_s - kept[0][0] > MEMORY_KEPT_S:
        kept = tuple(m for m in kept if now_s - m[0] <= MEMORY_KEPT_S)
    return LiveEstimate(
        batches=live.batches,
        loads=live.loads,
        memory=(*kept, (now_s, private_bytes)),
        mapped_bytes=max(live.mapped_bytes, mapped_bytes),
    )


def effective(profile: ModelProfile, live: LiveEstimate, now_s: float) -> ModelProfile:
    """The profile with live figures wherever there are enough samples; the profile itself where there are none.

    The whole latency curve moves: batch sizes that were not seen are scaled by the ratio at those that were.
    """
    ratios = _ratios(profile, live, now_s)
    load, cold = _live_load(profile, live, now_s), _live_load(profile, live, now_s, from_disk=True)
    memory = _live_memory(profile, live, now_s)
    if not ratios and load is None and cold is None and memory is None:
        return profile
    # The same object for the same figures: what is worked out of a profile is kept with it
    question = (ratios, load, cold, memory)
    kept = profile.worked_out.get("effective")
    if kept is not None and kept[0] == question and isinstance(kept[1], ModelProfile):
        return kept[1]
    seen = replace(
        profile,
        curve=_scaled(profile.curve, ratios) if ratios else profile.curve,
        load=load or profile.load,
        load_cold=cold or profile.load_cold,
        memory=memory or profile.memory,
        source=Source.LIVE,
        samples=sum(r.samples for r in ratios) or profile.samples,
    )
    profile.worked_out["effective"] = (question, seen)
    return seen


def compare(profile: ModelProfile, live: LiveEstimate, now_s: float) -> tuple[Compared, ...]:
    """Profiled and live figures side by side, for ``status`` and ``explain``."""
    load, memory = _live_load(profile, live, now_s), _live_memory(profile, live, now_s)
    known = profile.memory
    loads_s = [at_s for at_s, load in live.loads if load.disk_bytes <= profile.facts.disk_bytes / 2]
    readings_s = [at_s for at_s, _ in live.memory]
    return (
        *_compared_curve(profile, live, now_s),
        _Row("load_s", profile.load.total_s, None if load is None else load.total_s).of(loads_s, now_s),
        _Row("replica_bytes", known.replica_bytes, None if memory is None else memory.replica_bytes).of(
            readings_s, now_s
        ),
        _Row("mapped_bytes", known.mapped_bytes, None if memory is None else memory.mapped_bytes).of(readings_s, now_s),
    )


def slow_load_s(load_s: float, live: LiveEstimate, now_s: float) -> float:
    """A load that few exceed: of the five that are remembered the slowest, or what is expected where that is more.

    With five samples nothing is known beyond their largest, whose expected quantile is 5/6; a lead that is a little
    too long only begins a little early.
    """
    seen_s = [load.total_s for at_s, load in live.loads if now_s - at_s <= LOADS_KEPT_S]
    return max([load_s, *seen_s])


@dataclass(frozen=True, slots=True)
class _Row:
    figure: str
    profiled: float
    live: float | None

    def of(self, times_s: Sequence[float], now_s: float) -> Compared:
        age_s = now_s - times_s[-1] if times_s else None
        return Compared(figure=self.figure, profiled=self.profiled, live=self.live, samples=len(times_s), age_s=age_s)


@dataclass(frozen=True, slots=True)
class _Ratio:
    """Live over profiled median latency of one size class: its median, its 95th percentile."""

    size: int
    p50: float
    p95: float
    samples: int


def _compared_curve(profile: ModelProfile, live: LiveEstimate, now_s: float) -> list[Compared]:
    measured = {r.size for r in _ratios(profile, live, now_s)}
    seen = effective(profile, live, now_s).curve
    rows = []
    for point in profile.curve.points:
        size = _size_class(point.batch)
        times_s = [at_s for at_s, n, _ in live.batches if _size_class(n) == size]
        p50_s = seen.p50_s(point.batch) if size in measured else None
        p95_s = seen.p95_s(point.batch) if size in measured else None
        rows.append(_Row(f"p50_s[{point.batch}]", point.p50_s, p50_s).of(times_s, now_s))
        rows.append(_Row(f"p95_s[{point.batch}]", point.p95_s, p95_s).of(times_s, now_s))
    return rows


def _size_class(rows: int) -> int:
    """The power of two at or above ``rows``: 5 to 8 rows are alike."""
    return 1 << (rows - 1).bit_length()


def _standing_for(ordered: list[tuple[float, int]]) -> list[tuple[float, int]]:
    if len(ordered) <= _PER_UPDATE:
        return ordered
    # The middle of each eighth, so that the tails are represented but no single outlier is
    return [ordered[(2 * i + 1) * len(ordered) // (2 * _PER_UPDATE)] for i in range(_PER_UPDATE)]


def _ratios(profile: ModelProfile, live: LiveEstimate, now_s: float) -> list[_Ratio]:
    if not live.batches:
        return []
    kept_s = math.inf if profile.source is Source.ESTIMATED else BATCH_KEPT_S
    groups: dict[int, list[tuple[float, float]]] = {}
    for at_s, rows, seconds in live.batches:
        age_s = now_s - at_s
        if 0 <= age_s <= kept_s:
            ratio = seconds / profile.curve.p50_s(rows)
            # Weights are relative to each other: a floor keeps the ages of a long quiet time from all becoming zero
            weight = 0.5 ** min(age_s / HALF_LIFE_S, 60.0)
            groups.setdefault(_size_class(rows), []).append((ratio, weight))
    found = []
    for size, group in sorted(groups.items()):
        if len(group) >= ENOUGH_BATCHES:
            group.sort()
            found.append(_Ratio(size, _weighted(group, 0.5), _weighted(group, 0.95), len(group)))
    return found


def _weighted(ordered: list[tuple[float, float]], q: float) -> float:
    """Quantile of (value, weight) pairs sorted by value."""
    target = q * sum(weight for _, weight in ordered)
    seen = 0.0
    for value, weight in ordered:
        seen += weight
        if seen >= target:
            return value
    return ordered[-1][0]


def _scaled(curve: LatencyCurve, ratios: list[_Ratio]) -> LatencyCurve:
    by_size = {r.size: r for r in ratios}
    # Live batches may be of sizes that nobody profiled; of an estimate's curve they are most of what is known
    sizes = sorted({p.batch for p in curve.points} | by_size.keys())
    points = []
    for size in sizes:
        p50_s, p95_s = curve.p50_s(size), curve.p95_s(size)
        exact = by_size.get(_size_class(size))
        ratio = exact.p50 if exact else _between(ratios, size)
        # Where the spread was not seen live, it stays in the proportion that was profiled
        live_p95_s = p50_s * exact.p95 if exact else p95_s * ratio
        samples = exact.samples if exact else 0
        points.append(
            BatchPoint(batch=size, p50_s=p50_s * ratio, p95_s=max(live_p95_s, p50_s * ratio), samples=samples)
        )
    return LatencyCurve(tuple(points))


def _between(ratios: list[_Ratio], size: int) -> float:
    """Ratio at a size that was not seen: on a straight line over log2(size) between those that were."""
    below = [r for r in ratios if r.size <= size]
    above = [r for r in ratios if r.size > size]
    if not below or not above:
        return (below[-1] if below else above[0]).p50
    low, high = below[-1], above[0]
    share = (math.log2(size) - math.log2(low.size)) / (math.log2(high.size) - math.log2(low.size))
    return low.p50 + share * (high.p50 - low.p50)


def _live_load(profile: ModelProfile, live: LiveEstimate, now_s: float, *, from_disk: bool = False) -> LoadTime | None:
    """Of loads from memory, or of those that had to read more than half of the model's files from disk."""
    if not live.loads:
        return None
    half = profile.facts.disk_bytes / 2
    recent = [
        load for at_s, load in live.loads if now_s - at_s <= LOADS_KEPT_S and (load.disk_bytes > half > 0) == from_disk
    ]
    # One load beats an estimate; against a measurement it could be the outlier
    if len(recent) < (1 if profile.source is Source.ESTIMATED else 2):
        return None
    ordered = sorted(recent, key=lambda load: load.total_s)
    # The lower of the middle two: a slow load among two says less about the model than about that moment
    return ordered[(len(ordered) - 1) // 2]


def _live_memory(profile: ModelProfile, live: LiveEstimate, now_s: float) -> Memory | None:
    if len(live.memory) < ENOUGH_READINGS:
        return None
    readings = sorted([size for _, size in live.memory])
    typical = readings[len(readings) // 2]
    # What is typical is kept; how high it went is forgotten, or one large request would be reserved for ever
    peak = readings[-1] if now_s - live.memory[-1][0] <= MEMORY_KEPT_S else typical
    known = profile.memory
    return replace(
        known,
        base_bytes=min(known.base_bytes, typical),
        resident_bytes=max(0, typical - known.base_bytes - known.per_request_bytes),
        mapped_bytes=live.mapped_bytes or known.mapped_bytes,
        # Not having been seen lately does not disprove a measured peak; it does replace a guessed one
        peak_bytes=peak if profile.source is Source.ESTIMATED else max(peak, known.peak_bytes),
    )
