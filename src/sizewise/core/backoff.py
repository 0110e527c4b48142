"""When a model that keeps dying is left alone, and for how long."""

from dataclasses import dataclass, replace

from sizewise.core.profiles import LatencyCurve, Memory

FAILURES_IN_A_ROW = 3
"""Deaths before ready, without a ready replica in between, that park a model."""

DEATHS_MOST = 5
DEATHS_WINDOW_S = 60.0
"""More deaths than this in this time park it as well, ready or not."""

PAUSE_FIRST_S = 0.5
"""Before the next attempt after a death before ready; four times as long after the second."""

PARK_FIRST_S = 10.0
PARK_MOST_S = 600.0
"""The first park, doubled each time up to the most. A replica that stays ready for as long ends the series."""

HUNG_LEAST_S = 5.0
HUNG_BATCHES = 20.0
"""A replica that is mute for so many times its slowest measured batch hangs."""

MEMORY_AFTER_OOM = 1.5
"""A death by lack of memory shows that what was known is too little, but not how much is enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashHistory:
    """Deaths of one version's replicas. Empty at first; every event returns a new value."""

    deaths_s: tuple[float, ...] = ()
    """Times of recent deaths, oldest first."""
    in_a_row: int = 0
    """Deaths before ready since a replica was last ready."""
    parks: int = 0
    """Times it was parked; 0 while it only pauses between its first attempts."""
    parked_until_s: float | None = None
    ready_since_s: float | None = None
    memory_floor_bytes: int = 0
    """Least private memory to reserve, learned from deaths by lack of it; 0 when none died so."""


def after_death(
    history: CrashHistory, now_s: float, *, was_ready: bool, memory_bytes: int = 0, out_of_memory: bool = False
) -> CrashHistory:
    """The history after one more death, parked or not.

    ``memory_bytes``: the most private memory the replica was seen to hold; counts only for ``out_of_memory``.
    """
    history = _calmed(history, now_s)
    deaths_s = (*(t for t in history.deaths_s if now_s - t <= DEATHS_WINDOW_S), now_s)
    in_a_row = 0 if was_ready else history.in_a_row + 1
    floor = history.memory_floor_bytes
    if out_of_memory:
        floor = max(floor, round(MEMORY_AFTER_OOM * max(memory_bytes, floor)))
    died = replace(history, deaths_s=deaths_s, in_a_row=in_a_row, memory_floor_bytes=floor, ready_since_s=None)
    if in_a_row < FAILURES_IN_A_ROW and len(deaths_s) <= DEATHS_MOST:
        pause_s = PAUSE_FIRST_S * 4.0 ** (in_a_row - 1)
        return died if was_ready else replace(died, parked_until_s=now_s + pause_s)
    until_s = now_s + min(PARK_MOST_S, PARK_FIRST_S * 2.0 ** min(history.parks, 16))
    # After the park it gets one attempt: had it all of them again, each park would cost three more crashes
    return replace(died, deaths_s=(), in_a_row=FAILURES_IN_A_ROW - 1, parks=history.parks + 1, parked_until_s=until_s)


def after_ready(history: CrashHistory, now_s: float) -> CrashHistory:
    """The history after a replica became ready."""
    if history.in_a_row == 0 and history.parked_until_s is None and history.ready_since_s and not history.parks:
        return history
    return replace(
        _calmed(history, now_s), in_a_row=0, parked_until_s=None, ready_since_s=history.ready_since_s or now_s
    )


def parked_until_s(history: CrashHistory, now_s: float) -> float | None:
    """When the model may be started again; None when it may now."""
    until_s = history.parked_until_s
    return until_s if until_s is not None and now_s < until_s else None


def is_parked(history: CrashHistory, now_s: float) -> bool:
    """Given up for now, rather than pausing between attempts: clients are told instead of held."""
    return history.parks > 0 and parked_until_s(history, now_s) is not None


def hangs(curve: LatencyCurve, *, mute_s: float, timeout_s: float) -> bool:
    """Whether a replica that has been mute for so long will never answer again.

    Longer than any request waits for it, and far longer than its slowest batch takes: a replica cannot answer while it
    computes, so silence alone means nothing.
    """
    return mute_s > max(HUNG_LEAST_S, timeout_s, HUNG_BATCHES * curve.p95_s(curve.max_batch))


def raised(memory: Memory, floor_bytes: int) -> Memory:
    """The memory figures with at least ``floor_bytes`` for one replica."""
    return memory if floor_bytes <= memory.peak_bytes else replace(memory, peak_bytes=floor_bytes)


def _calmed(history: CrashHistory, now_s: float) -> CrashHistory:
    """Parks are forgotten once a replica has been ready for the longest of them."""
    since_s = history.ready_since_s
    if since_s is not None and now_s - since_s >= PARK_MOST_S:
        return replace(history, parks=0)
    return history
