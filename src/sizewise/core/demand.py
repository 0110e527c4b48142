"""What a model is asked for, from counters that are read now and then."""

import math
import operator
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

from sizewise.core.fleet import Demand
from sizewise.core.returns import Gaps, with_gap

BURST_S = 3.0
"""Window of ``Demand.burst_per_s``: long enough for three readings, short enough to see a step at once."""

STABLE_S = 60.0
"""Window of ``Demand.stable_per_s`` and of the attainment."""

RETURN_GAP_S = 1.0
"""Gaps shorter than this are part of one use of the model and say nothing about when it will be used again."""

_GAP_WEIGHT = 0.25
_POINTS_MAX = 128
_YOUNGEST_S = 0.5
_SPACING = ((16.0, 0.4), (64.0, 3.0), (256.0, 12.0), (math.inf, 48.0))
"""(age up to, seconds between points kept): history is thinned as it ages, so that it stays small for any length."""

_NOTHING = (0.0, 0.0, 0.0, 0.0, 0.0)
_WINDOWS_S = tuple(2.0**k for k in range(11))

Point = tuple[float, float, float, float, float, float]
Points = tuple[Point, ...]
"""Time and counters, the oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Counters of one model as the gateway showed them at one moment; they only grow while ``epoch`` is the same."""

    at_s: float
    epoch: str = ""
    arrivals: int = 0
    answered: int = 0
    errors: int = 0
    shed: int = 0
    within_slo: int = 0
    rows: int = 0
    in_flight: int = 0
    queued: int = 0
    held: int = 0
    last_arrival_s: float | None = None

    @property
    def finished(self) -> int:
        """Requests that ended in a way that counts for or against the SLO."""
        return self.answered + self.errors + self.shed

    @property
    def counters(self) -> tuple[float, float, float, float, float]:
        """Those whose history matters, in the order in which points keep them."""
        return (self.arrivals, self.shed, self.rows, self.finished, self.within_slo)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandState:
    """What must be remembered between two readings of one model.

    ``points`` are (time, counters...) with restarts of the gateway bridged, oldest first; ``answered`` and ``rows``
    are taken together, so both are kept. ``maxima`` are the decayed most arrivals per window of ``windows_s``.
    """

    last: Reading | None = None
    points: Points = ()
    windows_s: tuple[float, ...] = ()
    gaps: Gaps = ()
    """All of at least ``RETURN_GAP_S``, by their length."""
    maxima: tuple[float, ...] = ()
    last_arrival_s: float | None = None
    gap_s: float | None = None
    """Decayed mean of gaps of at least ``RETURN_GAP_S``."""
    window_s: float = BURST_S
    """Of the rate that sizes the model."""


def update(state: DemandState, reading: Reading, *, horizon_s: float = 64.0, window_s: float = BURST_S) -> DemandState:
    """The state after ``reading``. ``horizon_s`` is the longest window of the envelope: the model's load time.
    ``window_s`` is that of ``Demand.burst_per_s``, within ``BURST_S`` and ``STABLE_S``.

    A reading that is not newer than the last, or that cannot be true (negative or not a number), changes nothing: the
    demand then grows old, and an old demand never scales in. A new epoch or a counter that fell means that the gateway
    began anew: what it counted since is added to what was known.
    """
    last = state.last
    if not _plausible(reading) or (last is not None and reading.at_s <= last.at_s):
        return state
    totals = _totals(state, reading)
    grew = bool(state.points) and totals[0] > state.points[-1][1]
    arrival_s = _arrival_s(state, reading, grew=grew)
    gap_s = _new_gap_s(state, arrival_s)
    points = _with_point(state.points, (reading.at_s, *totals), max(4 * STABLE_S, 2 * horizon_s))
    windows_s = _windows(horizon_s)
    return DemandState(
        last=reading,
        points=points,
        windows_s=windows_s,
        gaps=state.gaps if gap_s is None else with_gap(state.gaps, gap_s),
        maxima=_decayed_maxima(state, points, windows_s),
        last_arrival_s=arrival_s,
        gap_s=_gap(state.gap_s, gap_s),
        window_s=min(STABLE_S, max(BURST_S, window_s)),
    )


def demand(state: DemandState, now_s: float) -> Demand:
    """What the readings up to now say. Without any reading it is infinitely old, so it never scales in."""
    last = state.last
    if last is None:
        return Demand(observed_at_s=-math.inf)
    arrivals, shed, rows, finished, within_slo = _since(state.points, STABLE_S)
    burst, burst_shed = _since(state.points, state.window_s)[:2] if arrivals else (0.0, 0.0)
    served = finished - shed
    stable_per_s = _rate(state.points, STABLE_S, arrivals)
    plain_gap_s = 1.0 / stable_per_s if stable_per_s > 0 else math.inf
    return Demand(
        observed_at_s=last.at_s,
        burst_per_s=_rate(state.points, state.window_s, burst),
        window_s=state.window_s,
        stable_per_s=stable_per_s,
        rows_per_request=max(1.0, rows / served) if served >= 1 else 1.0,
        in_flight=last.in_flight,
        queued=last.queued,
        held=last.held,
        shed_per_s=_rate(state.points, state.window_s, burst_shed),
        idle_s=math.inf if state.last_arrival_s is None else max(0.0, now_s - state.last_arrival_s),
        gap_s=plain_gap_s if state.gap_s is None else state.gap_s,
        gaps=state.gaps,
        envelope=tuple(zip(state.windows_s, state.maxima, strict=True)),
        attainment=min(1.0, within_slo / finished) if finished >= 1 else None,
    )


def _plausible(reading: Reading) -> bool:
    r = reading
    counts = (r.arrivals, r.answered, r.errors, r.shed, r.within_slo, r.rows, r.in_flight, r.queued, r.held, r.at_s)
    return min(counts) >= 0 and math.isfinite(sum(counts))


def _totals(state: DemandState, reading: Reading) -> tuple[float, float, float, float, float]:
    if state.last is None or not state.points:
        # Counted in a time we know nothing of: a starting point, not a rate
        return reading.counters
    now, before, known = reading.counters, state.last.counters, state.points[-1][1:]
    if reading.epoch == state.last.epoch:
        if now == before:
            return known
        if any(map(operator.lt, now, before)):
            before = _NOTHING
    else:
        before = _NOTHING
    k1, k2, k3, k4, k5 = known
    n1, n2, n3, n4, n5 = now
    b1, b2, b3, b4, b5 = before
    return (k1 + n1 - b1, k2 + n2 - b2, k3 + n3 - b3, k4 + n4 - b4, k5 + n5 - b5)


def _with_point(points: Points, point: Point, keep_s: float) -> Points:
    """Of a time in which nothing was counted only the ends are kept: what lies in between is known from them."""
    if len(points) < 2 or not points[-2][1:] == points[-1][1:] == point[1:]:
        points = (*points, point)
        return points if len(points) <= _POINTS_MAX else _thinned(points, keep_s)
    start = points[-2]
    return (start, point) if start[0] <= point[0] - keep_s else (*points[:-1], point)


def _arrival_s(state: DemandState, reading: Reading, *, grew: bool) -> float | None:
    said_s = reading.last_arrival_s
    if said_s is not None and math.isfinite(said_s):
        return min(said_s, reading.at_s)
    return reading.at_s if grew else state.last_arrival_s


def _new_gap_s(state: DemandState, arrival_s: float | None) -> float | None:
    """The gap that a reading ended; None where it ended none that counts."""
    if arrival_s is None or state.last_arrival_s is None or arrival_s <= state.last_arrival_s:
        return None
    last = state.last
    # Within one reading only the last arrival is known. The gap before its first one is at least the time that had
    # been quiet when the reading before it was taken.
    gap_s = (last.at_s if last is not None else arrival_s) - state.last_arrival_s
    return gap_s if gap_s >= RETURN_GAP_S else None


def _gap(known_s: float | None, gap_s: float | None) -> float | None:
    if gap_s is None:
        return known_s
    return gap_s if known_s is None else known_s + _GAP_WEIGHT * (gap_s - known_s)


def _windows(horizon_s: float) -> tuple[float, ...]:
    bounded_s = min(max(horizon_s, 1.0), _WINDOWS_S[-1])
    return _WINDOWS_S[: math.ceil(math.log2(bounded_s)) + 1]


def _decayed_maxima(state: DemandState, points: Points, windows_s: tuple[float, ...]) -> tuple[float, ...]:
    """Most arrivals per window, halved in twice the window: a burst is remembered for as long as it matters."""
    quiet = points[0][1] == points[-1][1]
    if quiet and not any(state.maxima):
        return (0.0,) * len(windows_s)
    known = state.maxima + (0.0,) * (len(windows_s) - len(state.maxima))  # windows only ever begin alike
    passed_s = points[-1][0] - points[-2][0] if len(points) > 1 else 0.0
    maxima = []
    for window_s, most in zip(windows_s, known, strict=False):
        old = most * 0.5 ** (passed_s / max(BURST_S, 2 * window_s)) if most else 0.0
        new = 0.0 if quiet else _grown(points, window_s)
        maxima.append(max(new, old if old > 0.05 else 0.0))
    return tuple(maxima)


def _since(points: Points, window_s: float) -> tuple[float, float, float, float, float]:
    """Growth of each counter over the last ``window_s`` seconds before the newest point."""
    i, share = _edge(points, window_s)
    _, n1, n2, n3, n4, n5 = points[-1]
    _, y1, y2, y3, y4, y5 = points[i]
    if not share:
        return (n1 - y1, n2 - y2, n3 - y3, n4 - y4, n5 - y5)
    _, x1, x2, x3, x4, x5 = points[i - 1]
    return (
        n1 - (x1 + share * (y1 - x1)),
        n2 - (x2 + share * (y2 - x2)),
        n3 - (x3 + share * (y3 - x3)),
        n4 - (x4 + share * (y4 - x4)),
        n5 - (x5 + share * (y5 - x5)),
    )


def _grown(points: Points, window_s: float) -> float:
    """The same of arrivals alone."""
    i, share = _edge(points, window_s)
    y = points[i][1]
    if share:
        x = points[i - 1][1]
        y = x + share * (y - x)
    return points[-1][1] - y


def _edge(points: Points, window_s: float) -> tuple[int, float]:
    """Where a window before the newest point begins: the first point in it, and how far behind the one before that."""
    start_s = points[-1][0] - window_s
    i = bisect_left(points, (start_s,))
    if i == 0:
        return 0, 0.0
    before_s = points[i - 1][0]
    return i, (start_s - before_s) / (points[i][0] - before_s)


def _rate(points: Points, window_s: float, count: float) -> float:
    known_s = points[-1][0] - points[0][0]
    # A history shorter than the window is all there is; one shorter than a reading would exaggerate
    return count / min(window_s, max(known_s, _YOUNGEST_S))


def _thinned(points: Points, keep_s: float) -> Points:
    now_s = points[-1][0]
    kept: list[Point] = []
    for point, following in pairwise(points):
        age_s = now_s - point[0]
        spacing_s = next(spacing for limit, spacing in _SPACING if age_s <= limit)
        # The last before what is kept tells that it was quiet until then
        if now_s - following[0] <= keep_s and (not kept or point[0] - kept[-1][0] >= spacing_s):
            kept.append(point)
    return (*kept, points[-1])
