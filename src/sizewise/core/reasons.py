"""Reasons in words. Decisions carry a code and its numbers; the sentence is made when somebody asks for it."""

import math
from collections.abc import Mapping

from sizewise.core.fleet import Reason
from sizewise.core.units import format_bytes, format_seconds

SENTENCES: Mapping[str, str] = {
    # What the demand asks for
    "idle": "no demand: last request {idle_s} ago",
    "cold_request": "{held} waiting for a cold model: one replica is started",
    "in_flight": "{in_flight} in flight: the replica stays",
    "queue": "{rate_per_s} need {replicas} for waits to stay within the SLO",
    "rate": "{rate_per_s} need {replicas} at the target utilization; the model has no SLO",
    "slo_unreachable": "one call alone takes longer than the SLO; {rate_per_s} need {replicas} to keep up",
    "envelope": "bursts as seen lately need {replicas}, since none could be started in time",
    "backlog": "{queued} queued and {rate_per_s} arriving need {replicas} to drain in time",
    "forecast": "{rate_per_s} expected in {lead_s}, by then {replicas} must be ready: forecasts have been right lately",
    # What holds replicas that are not needed
    "hold": "{need} needed, but the need must stay lower for {hold_s}: {left_s} left",
    "safe_removal": "{need} needed, but with fewer than {replicas} waits would come too close to the SLO",
    "loading": "its load of about {load_s} is under way and is finished first",
    "warm": "idle for {idle_s}, kept until {release_s}: loading takes {load_s}, holding takes {held_bytes}",
    "released": "idle for {idle_s}, longer than the {release_s} that loading it again ({load_s}) is worth",
    "kept": "idle for {idle_s}: {policy} keeps it",
    "let_go": "idle for {idle_s}: {policy} lets it go",
    "woken": "usually asked for again after {wake_s}: {policy} loads it ahead",
    # Files without a replica
    "held_warm": "idle for {idle_s}: files ({held_bytes}) kept in memory until {release_s}: "
    "to load in {load_s}, not {reload_s}",
    "warm_released": "idle for {idle_s}: its files ({held_bytes}) stayed in memory for as long as that is worth",
    "warm_taken": "idle for {idle_s}: its files ({held_bytes}) leave memory to others, {room_bytes} are left",
    # What somebody set
    "min": "min_replicas is {replicas}",
    "max": "max_replicas {most} bounds what {rate_per_s} need",
    "cpu": "{most} replicas of {threads} threads already use all {cpus} cores: more would add nothing for {rate_per_s}",
    "pinned": "{replicas} asked for by hand",
    "unloaded": "unloaded by hand",
    "parked": "crash-looping: parked for another {left_s}",
    # What cannot be believed: nothing is taken away
    "stale": "observations are {age_s} old (limit {stale_after_s}): nothing is scaled in",
    "unread": "demand could not be read: nothing is scaled in",
    "future": "observations are {ahead_s} ahead of the clock: nothing is scaled in",
    "absurd": "{figure} is {value}, which cannot be: nothing is scaled in",
    # What the budgets say
    "memory": "{need_bytes} needed, {free_bytes} free, and nothing of lower value can go",
    "memory_wait": "{need_bytes} needed: waiting until replicas that are leaving have given back {short_bytes}",
    "too_large": "one replica needs {need_bytes} with overhead, the budget is {have_bytes}",
    "load_slot": "{loading} of {slots} loads at once are under way: it is next when one ends",
    "cpu_busy": "all {cpus} cores are taken by demand of higher rank",
    "no_machine": "{need_bytes} fit on none of {machines} machines now",
    "evicted": "made room for {claimant}: of what could go it was worth least per byte",
    "over_budget": "replicas occupy {used_bytes} of {have_bytes}: the lowest value per byte goes",
    # Versions
    "rollout": "version {candidate} is loaded beside {version}",
    "rollout_wait": "version {candidate} waits for its turn to load beside {version}",
    "rollout_memory": "version {candidate} needs {need_bytes} beside {version}, {free_bytes} are free",
    # Processes
    "many": "{small} small replicas, more than {most}: they share processes",
    "pressure": "processes of their own for {small} small replicas would need {need_bytes} of {have_bytes}: they share",
    "settled": "shares a process since there were many small replicas, and stays",
    "few": "a process of its own: there are at most {most} small replicas",
    "isolation": "a process of its own: isolation is {isolation}",
    "inline": "inside the gateway: isolation is inline",
    "not_inline": "a process of its own: {why}",
    "alone": "a process of its own since {why}",
    "code": "a process of its own: its file is a program ({runtime})",
    "large": "a process of its own: {bytes} is more than the {most_bytes} of a small model",
    "slow": "a process of its own: one call takes {call_s}, a small model at most {most_s}",
    "hot": "a process of its own: it keeps a share of {busy} of a core busy",
    "host_bytes": "its host holds {used_bytes}, its replicas account for {most_bytes}: halved to find which one grows",
    "host_ends": "its host ended {ends} times for no known reason: halved to find which one ends it",
    # Alternatives that were refused
    "late": "with {replicas} a share of {late} would be late for waiting",
    "overloaded": "{replicas} can serve {capacity_per_s}, {rate_per_s} arrive",
    "cold_again": "the next request would wait about {load_s} for it to load",
    "no_gain": "{replicas} would improve SLO attainment by {gain} only, for {bytes}",
    "threads": "{replicas} of {threads} threads would take {share} of the machine, as measured it takes {own_share}",
    "threads_late": "{replicas} of {threads} threads would not meet the SLO here",
    "not_needed": "nothing asks for it",
}
"""One sentence for each code. Numbers are put in by name and formatted by the unit at the end of the name."""

NEVER = {"idle": "no demand: no request since the start"}
"""Said instead when a time in the sentence is infinite."""

CODES = frozenset(SENTENCES)


def because(code: str, **numbers: float | int | str) -> Reason:
    """A reason, in one short line."""
    return Reason(code=code, numbers=numbers)


def render(reason: Reason) -> str:
    """The reason as one sentence; an unknown code, of another version, is shown as it is with its numbers.

    >>> render(because("min", replicas=2))
    'min_replicas is 2'
    """
    shown = _Shown({name: _format(name, value) for name, value in reason.numbers.items()})
    # As text, once it has been kept: JSON has no infinity
    never = reason.code in NEVER and not {math.inf, "ever"}.isdisjoint(reason.numbers.values())
    sentence = NEVER[reason.code] if never else SENTENCES.get(reason.code)
    if sentence is None:
        return " ".join([reason.code, *(f"{name}={value}" for name, value in shown.items())])
    return sentence.format_map(shown)


class _Shown(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _format(name: str, value: float | int | str) -> str:
    if isinstance(value, str) or value != value:  # noqa: PLR0124 - NaN is the one number that differs from itself
        return str(value)
    if name.endswith("bytes"):
        return format_bytes(value)
    if name.endswith("_per_s"):
        return f"{value:.3g} requests/s"
    if value in {float("inf"), float("-inf")}:
        return "ever" if name.endswith("_s") else str(value)
    if name.endswith("_s"):
        return format_seconds(value)
    return str(value) if isinstance(value, int) else f"{value:.3g}"
