"""How long a lower need must last before replicas go: some loads, how many is learned from the error budget.

To let go of a replica that is needed again costs its load, and the requests that are late meanwhile. How much the
second weighs depends on traffic that no load time tells of: a burst that comes back every five minutes, or a noise that
never matters. So the hold is a multiple of the load time, and the multiple is the one thing that is learned: late
requests raise it, requests in time lower it, such that it comes to rest where a part of the error budget is used.

Source: hold by ski rental (Karlin et al. 1988); the multiple follows the rule that adaptive conformal inference has for
its level (Gibbs and Candes 2021, arXiv:2106.00170): a step up for a miss, a small one down for a hit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sizewise.core.fleet import Demand
from sizewise.core.slo import Slo

MIN_HOLD_S = 4.0
"""A few readings: less would follow their noise."""

LOADS_HELD = 4.0
"""Before anything was learned."""

LEAST_LOADS, MOST_LOADS = 1.5, 64.0

BUDGET_USED = 0.5
"""Share of the error budget at which the hold comes to rest: the rest is for what no hold prevents."""

LEARNING_BUDGETS = 80.0
LEARNING_LOADS = 200.0
"""The multiple falls by a factor of e over so many requests in time (in units of one allowed late request), and over so
many load times at the least: quicker than it can matter, it would follow chance."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What is remembered from one decision to the next."""

    loads: float = LOADS_HELD
    at_s: float = -math.inf


def hold_s(load_s: float, loads: float = LOADS_HELD) -> float:
    """Seconds for which a lower need must last before replicas go: a few readings or so many load times."""
    return max(MIN_HOLD_S, loads * load_s)


def learned(hold: Hold, demand: Demand, *, slo: Slo | None, load_s: float, now_s: float) -> Hold:
    """The hold after what has passed since the last look. Without a goal or without traffic nothing is learned.

    ``demand.attainment`` covers a window, so that each late request counts a little at every look that it is in, and
    once in all.
    """
    passed_s = now_s - hold.at_s
    if slo is None or slo.budget <= 0 or demand.attainment is None or not 0 < passed_s < math.inf:
        return Hold(hold.loads, now_s)
    used = demand.stable_per_s * passed_s * slo.budget
    step = min(used / LEARNING_BUDGETS, passed_s / (LEARNING_LOADS * max(load_s, 1.0)))
    burn = (1.0 - demand.attainment) / slo.budget
    loads = hold.loads * math.exp(step * (burn / BUDGET_USED - 1.0))
    return Hold(min(MOST_LOADS, max(LEAST_LOADS, loads)), now_s)


def from_state(state: Mapping[str, object]) -> Hold:
    """From a state that may have been through JSON; what cannot be read has not been learned."""
    raw = state.get("hold")
    if isinstance(raw, list | tuple) and len(raw) == 2:
        loads, at_s = raw
        if isinstance(loads, int | float) and isinstance(at_s, int | float) and LEAST_LOADS <= loads <= MOST_LOADS:
            return Hold(float(loads), float(at_s))
    return Hold()


def to_state(hold: Hold) -> list[float]:
    return [hold.loads, hold.at_s]
