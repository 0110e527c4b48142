"""Which unused model stays in memory, and for how long: ours, and the rules that others go by, behind one protocol.

A policy is chosen by name, with its parameter after a colon: ``ours``, ``ttl:600``, ``lru_count:3``. It decides about
last replicas of models that nobody uses now; what demand needs, and what a user asked for, is not up to it.

Sources: GDSF, Cherkasova 1998 and FaasCache (Fuerst and Sharma 2021, ASPLOS); Landlord, Young 2002; hybrid histogram,
Shahrad et al. 2020, ATC; a bound by count is what multi-model servers offer.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from sizewise.core.fleet import Demand
from sizewise.core.slo import Slo
from sizewise.core.warmth import release_s, value_per_byte

OURS = "ours"

GAP_BIN_S = 60.0
GAP_BINS = 240
"""Idle times up to four hours, minute by minute, as published."""

HEAD, TAIL = 0.05, 0.99
MARGIN = 0.10
"""Woken a tenth before the shortest usual idle time ends, kept a tenth longer than the longest: as published."""

ENOUGH_GAPS = 10
REPRESENTATIVE_CV = 2.0
"""A histogram flatter than this (coefficient of variation of its counts) says nothing, and the standard time counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What a policy that remembers is told about the past of one model. Plain numbers, bounded by ``GAP_BINS``."""

    last_s: float = -math.inf
    """When it was last asked for."""
    count: float = 0.0
    """Decisions at which it had been asked for since it was loaded."""
    credit: float = 0.0
    """What the policy gave it at its last use."""
    gaps: Mapping[int, int] = field(default_factory=dict)
    """How many idle times of so many whole minutes."""


NO_USES = Uses()


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """A model in memory that nobody uses, or one that was just used."""

    demand: Demand
    idle_s: float
    load_s: float
    held_bytes: int
    machine_bytes: int
    slo: Slo | None = None
    uses: Uses = NO_USES


class WarmthPolicy(Protocol):
    """``score`` orders what could go when memory is short, the lowest first; ``release_s`` are the idle seconds after
    which it goes in any case, infinite for never; ``wake_s`` those after which it is loaded again unasked."""

    @property
    def remembers(self) -> bool:
        """Whether it looks at ``Warm.uses``."""

    @property
    def most_models(self) -> float:
        """In memory at once, beyond those in use: the lowest score goes."""

    def score(self, warm: Warm) -> float: ...

    def release_s(self, warm: Warm) -> float: ...

    def credit(self, warm: Warm, clock: float) -> float:
        """Given at every use. ``clock`` is the score of the last one that had to go."""

    def wake_s(self, uses: Uses) -> float: ...


@dataclass(frozen=True, slots=True)
class _Base:
    """Least recently used, for as long as memory lasts."""

    @property
    def remembers(self) -> bool:
        return False

    @property
    def most_models(self) -> float:
        return math.inf

    def score(self, warm: Warm) -> float:
        return -warm.idle_s

    def release_s(self, warm: Warm) -> float:
        del warm
        return math.inf

    def credit(self, warm: Warm, clock: float) -> float:
        del warm, clock
        return 0.0

    def wake_s(self, uses: Uses) -> float:
        del uses
        return math.inf


@dataclass(frozen=True, slots=True)
class Ours(_Base):
    """Ski rental with a price on waiting, and chance of next use x load time / bytes: ``core/warmth.py``.

    The chance is read off how long the gaps between uses were (``core/returns.py``): as good as lifetime frequency
    where popularity stays, and as quick to forget as Landlord where it moves. ``ours:inf`` lets go of nothing by time,
    for memory that is paid for anyway.
    """

    least_s: float = 0.0
    """Idle for less, nothing goes by time."""

    def score(self, warm: Warm) -> float:
        return value_per_byte(warm.demand, load_s=warm.load_s, held_bytes=warm.held_bytes, slo=warm.slo)

    def release_s(self, warm: Warm) -> float:
        limit_s = release_s(
            load_s=warm.load_s,
            held_bytes=warm.held_bytes,
            machine_bytes=warm.machine_bytes,
            gap_s=warm.demand.gap_s,
            slo=warm.slo,
        )
        return max(self.least_s, limit_s)


@dataclass(frozen=True, slots=True)
class LruBytes(_Base):
    """The least recently used goes when memory is short."""


@dataclass(frozen=True, slots=True)
class LruCount(_Base):
    """At most so many models, whatever they weigh: the least recently used goes."""

    most: float = 3

    @property
    def most_models(self) -> float:
        return self.most


@dataclass(frozen=True, slots=True)
class Ttl(_Base):
    """A fixed time for everybody."""

    ttl_s: float = 600.0

    def release_s(self, warm: Warm) -> float:
        del warm
        return self.ttl_s


@dataclass(frozen=True, slots=True)
class Gdsf(_Base):
    """Clock + uses x load time / bytes, given at every use; the clock is the score of the last victim."""

    @property
    def remembers(self) -> bool:
        return True

    def score(self, warm: Warm) -> float:
        return warm.uses.credit

    def credit(self, warm: Warm, clock: float) -> float:
        return clock + max(warm.uses.count, 1.0) * warm.load_s / max(warm.held_bytes, 1)


@dataclass(frozen=True, slots=True)
class Landlord(Gdsf):
    """The same without the uses: what was popular once does not stay for it."""

    def credit(self, warm: Warm, clock: float) -> float:
        return clock + warm.load_s / max(warm.held_bytes, 1)


@dataclass(frozen=True, slots=True)
class HybridHistogram(_Base):
    """Gone once it is usually not needed soon, back before it usually is; a fixed time while no habit shows.

    The published third branch, a time series for idle times beyond the histogram, is left out: such models are rare
    calls, and the fixed time serves them.
    """

    standard_s: float = 600.0

    @property
    def remembers(self) -> bool:
        return True

    def release_s(self, warm: Warm) -> float:
        habit = habit_s(warm.uses.gaps)
        if habit is None:
            return self.standard_s
        wake_s, until_s = habit
        # Unloaded at once where it will be woken in time, and after that kept for as long as it usually takes
        return 0.0 if wake_s > warm.load_s and warm.idle_s < wake_s else until_s

    def wake_s(self, uses: Uses) -> float:
        habit = habit_s(uses.gaps)
        return math.inf if habit is None or habit[0] <= 0 else habit[0]


def habit_s(gaps: Mapping[int, int]) -> tuple[float, float] | None:
    """(idle time after which to wake it, until which to keep it), or None while the histogram shows no habit."""
    total = sum(gaps.values())
    if total < ENOUGH_GAPS:
        return None
    mean = total / GAP_BINS
    spread = sum((n - mean) ** 2 for n in gaps.values()) + (GAP_BINS - len(gaps)) * mean**2
    if math.sqrt(spread / GAP_BINS) / mean < REPRESENTATIVE_CV or gaps.get(GAP_BINS, 0) > total / 2:
        return None
    head, tail = _quantile(gaps, HEAD * total), _quantile(gaps, TAIL * total)
    # The head is rounded down to a whole bin, the tail up
    return GAP_BIN_S * head * (1 - MARGIN), GAP_BIN_S * (tail + 1) * (1 + MARGIN)


def used(uses: Uses, last_s: float) -> Uses:
    """After it was asked for at ``last_s``; the same when that is nothing new. The credit is left to the policy."""
    if not last_s > uses.last_s + 1e-3:
        return uses
    gaps = dict(uses.gaps)
    if math.isfinite(uses.last_s):
        place = min(GAP_BINS, int((last_s - uses.last_s) / GAP_BIN_S))
        gaps[place] = gaps.get(place, 0) + 1
    return Uses(last_s=last_s, count=uses.count + 1, credit=uses.credit, gaps=gaps)


@lru_cache(maxsize=64)
def policy_of(name: str) -> WarmthPolicy:
    """The policy of a name. Raises ValueError, which lists those there are.

    >>> policy_of("ttl:60")
    Ttl(ttl_s=60.0)
    """
    kind, _, parameter = name.partition(":")
    try:
        made = POLICIES[kind]
        return made(float(parameter)) if parameter else made()
    except (KeyError, ValueError, TypeError):
        raise ValueError(f"no warmth policy {name!r}: there are {', '.join(POLICIES)}") from None


POLICIES: Mapping[str, Callable[..., WarmthPolicy]] = {
    OURS: Ours,
    "lru_bytes": LruBytes,
    "lru_count": LruCount,
    "ttl": Ttl,
    "gdsf": Gdsf,
    "landlord": Landlord,
    "hybrid_histogram": HybridHistogram,
}


def _quantile(gaps: Mapping[int, int], rank: float) -> int:
    seen = 0
    for place in sorted(gaps):
        seen += gaps[place]
        if seen >= rank:
            return place
    return max(gaps)


def to_state(uses: Uses) -> list[object]:
    """As plain values, to be handed back by the next decision."""
    return [uses.last_s, uses.count, uses.credit, [[place, n] for place, n in uses.gaps.items()]]


def from_state(raw: object) -> Uses:
    """What ``to_state`` made; nothing where there is nothing to read."""
    if not isinstance(raw, list | tuple) or len(raw) != 4:
        return Uses()
    try:
        gaps = {int(place): int(n) for place, n in raw[3]}
        return Uses(last_s=float(raw[0]), count=float(raw[1]), credit=float(raw[2]), gaps=gaps)
    except (TypeError, ValueError):
        return Uses()
