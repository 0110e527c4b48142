"""How long an idle replica stays, and which one goes first when memory is short.

Source: ski rental (keep until holding has cost as much as coming back would; at most twice the best possible cost),
and GreedyDual-Size / Landlord value per byte with a hazard of next use in place of the lifetime frequency. What coming
back costs: reference design, section 3.1.
"""

import math

from sizewise.core.fleet import Demand
from sizewise.core.holding import hold_s
from sizewise.core.profiles import Memory
from sizewise.core.returns import returns_per_s
from sizewise.core.slo import Slo

NOTICED_S = 0.4
"""A first answer later than this is noticed by whoever waits for it; a load within it costs nobody anything."""

LATE_S = 5.0
"""A late answer counts as so many seconds of waiting, where a goal says what late is."""

UNNOTICED_SHARE = 0.01
"""What a second of loading counts beside late answers."""

WAIT_PRICE = 240.0
"""Seconds of a whole machine's memory that one second of waiting for a cold model is worth."""

LEAST_SHARE = 1e-4
"""A replica is charged at least this share of the machine, whatever is known of its bytes."""

HABIT_GAPS = 2.0
HABIT_GAP_S = 10.0
"""A model used at gaps up to this long is kept over two of them, whatever its size: it is expected back at once."""

ACTIVE_S = 5.0
"""A model whose last request is younger than this has traffic."""


def noticed_s(load_s: float) -> float:
    """Seconds of a wait for a load that count: the part that is noticed, by how large a part of the wait it is."""
    noticed = max(0.0, load_s - NOTICED_S)
    return noticed * noticed / load_s if noticed else 0.0


def reload_s(load_s: float, *, slo: Slo | None = None, gap_s: float = math.inf) -> float:
    """What coming back from cold costs whoever asks, in seconds of waiting.

    Without a goal, the noticed part of the first one's wait. With one, nobody cares how late a late answer is: the
    first request and those that come while it loads count ``LATE_S`` each, as far as the load is noticed. So a model
    that loads ten times as long is worth ten times the memory without a goal, and little more than the same with one,
    unless it is busy. ``gap_s`` is the mean gap between requests while it is in use.
    """
    if slo is None or load_s <= 0:
        return noticed_s(load_s)
    unnoticed_s = max(NOTICED_S, slo.latency_s)
    share = max(0.0, load_s - unnoticed_s) / load_s
    return LATE_S * (1.0 + load_s / max(gap_s, 1e-3)) * share * share


def break_even_s(cost_s: float, *, held_bytes: int, machine_bytes: int) -> float:
    """Idle seconds at which holding has cost as much as a reload would: ``cost_s`` as ``reload_s`` has it.

    Holding is paid by the share of the machine's memory. So a model that is back within ``NOTICED_S`` is not held on
    this account at all, and one that loads for seconds is held for minutes, the longer the smaller it is.

    >>> break_even_s(reload_s(0.05), held_bytes=20 << 20, machine_bytes=4 << 30)
    0.0
    >>> round(break_even_s(reload_s(2.0), held_bytes=512 << 20, machine_bytes=4 << 30))
    2458
    """
    return WAIT_PRICE * cost_s / memory_share(held_bytes, machine_bytes)


def memory_share(held_bytes: int, machine_bytes: int) -> float:
    """Share of the machine's memory that is charged for holding something."""
    return max(LEAST_SHARE, held_bytes / max(machine_bytes, 1))


def release_s(
    *, load_s: float, held_bytes: int, machine_bytes: int, gap_s: float = math.inf, slo: Slo | None = None
) -> float:
    """Idle seconds after which the last replica goes: readings, load time, break-even or habit, whichever is longest.

    ``gap_s`` is the mean gap between uses, infinite when it is not known.
    """
    habit_s = HABIT_GAPS * gap_s if gap_s <= HABIT_GAP_S else 0.0
    cost_s = reload_s(load_s, slo=slo, gap_s=gap_s)
    even_s = break_even_s(cost_s, held_bytes=held_bytes, machine_bytes=machine_bytes)
    return max(hold_s(load_s), even_s, habit_s)


def hazard_per_s(demand: Demand) -> float:
    """Chance per second that the model is asked for next, 1 / (g + tau^2 / g): g mean gap, tau idle time so far.

    It is the rate while the model is in use, half of it after one gap, and falls with the square of the time after.
    """
    if not math.isfinite(demand.gap_s) or demand.gap_s <= 0:
        # Never a second use: as if the next were as far off as the last is past
        return 0.0 if not math.isfinite(demand.idle_s) else 0.5 / max(demand.idle_s, 1.0)
    idle_s = min(demand.idle_s, 1e9)
    return 1.0 / (demand.gap_s + idle_s * idle_s / demand.gap_s)


def has_traffic(demand: Demand) -> bool:
    """In use now, or so recently that the next request is to be expected."""
    return demand.in_flight > 0 or demand.queued > 0 or demand.idle_s < ACTIVE_S


def value_per_byte(demand: Demand, *, load_s: float, held_bytes: int, slo: Slo | None = None) -> float:
    """Seconds of waiting that holding the model avoids, per second and byte: hazard x cost of coming back / bytes.

    The hazard is that of the gaps that were seen, and goes by their mean alone where they are not known.
    """
    known = demand.gaps and math.isfinite(demand.idle_s)
    hazard = returns_per_s(demand.gaps, demand.idle_s) if known else hazard_per_s(demand)
    rate = max(hazard, demand.burst_per_s if has_traffic(demand) else 0.0)
    # Loads that nobody notices are told apart by their length still: they keep others from loading
    cost_s = load_s if slo is None else reload_s(load_s, slo=slo, gap_s=demand.gap_s) + UNNOTICED_SHARE * load_s
    return rate * max(cost_s, 1e-3) / max(held_bytes, 1)


def held_bytes(memory: Memory, mapped_bytes: int) -> int:
    """What the last replica of a model occupies: its private memory and the weights that only it keeps mapped."""
    return memory.replica_bytes + max(memory.mapped_bytes, mapped_bytes)
