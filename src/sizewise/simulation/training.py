"""What others learn from the past before they are compared: peaks, hours of load, and settings tuned over a grid.

The past of a window of a trace is what comes before it; where nothing does, the first third of the window, which is
then counted for nobody. The past of traffic that is made up is made up with another seed.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from sizewise.protocols.errors import UsageError
from sizewise.simulation.frontiers import Point, best_of
from sizewise.simulation.grids import choice_of, grid_of, tuned_names
from sizewise.simulation.pools import MINUTE_S
from sizewise.simulation.regret import Run
from sizewise.simulation.running import Outcome, workload_of
from sizewise.simulation.scenario import Mode, Past, PolicyChoice, Scenario, TraceSource
from sizewise.simulation.workload import counted

DAY_S, DAY_H = 86400.0, 24
MOST_S = 14 * DAY_S
"""Of the past that forecasts look at: what EC2 looks at."""
FIRST_SHARE = 1 / 3
OTHER_SEED = 1000
DEFAULT_GOAL = 0.99
DECIDING = ("core", "controller", "simulation")
"""Packages that a result depends on: a change in them tunes anew."""
FROM_THE_PAST = frozenset({"keda_cron", "ec2_predictive"})

RunAll = Callable[[Sequence[Run], str], Sequence[Outcome]]
"""Runs, and what progress calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One scenario in time."""

    past: Scenario
    """As far back as there is something, 14 days at most."""
    train: Scenario
    """The end of the past, as long as what is judged."""
    judged: Scenario


def learned(
    scenario: Scenario, policies: Sequence[PolicyChoice], *, kept: Path | None, run_all: RunAll
) -> tuple[Scenario, list[PolicyChoice]]:
    """The part to judge by, and the policies with what they know of the past. ``kept``: where tuned settings are kept.

    Where nobody asks for the past, nothing changes.
    """
    if not any(_looks_back(policy) or _to_tune(policy) for policy in policies):
        return scenario, list(policies)
    begins = isinstance(scenario.source, TraceSource) and scenario.source.from_s == 0
    if begins and not any(_to_tune(policy) or policy.name in {"static", "keda_cron"} for policy in policies):
        return scenario, list(policies)  # EC2 does without a forecast until it has seen a day
    split = split_of(scenario)
    past = past_of(split.past) if any(map(_looks_back, policies)) else {}
    hours = min((len(each.mean_per_s) for each in past.values()), default=0)
    if hours < DAY_H and any(policy.name == "keda_cron" for policy in policies):
        raise UsageError(
            f"{scenario.file}: keda_cron goes by the peaks of the day or the week before, and only {hours} hours come "
            f"before this window: set trace.from_s a day or more behind the beginning of the trace, or leave it out"
        )
    known = [replace(policy, past=past) if _looks_back(policy) else policy for policy in policies]
    return split.judged, [
        _tuned(each, split.train, kept=kept, run_all=run_all) if _to_tune(each) else each for each in known
    ]


def _looks_back(policy: PolicyChoice) -> bool:
    fixed_by_peak = policy.name == "static" and policy.mode is not Mode.STOCK and "replicas" not in policy.parameters
    return fixed_by_peak or policy.name in FROM_THE_PAST


def _to_tune(policy: PolicyChoice) -> bool:
    bare = not policy.parameters and policy.target_factor == 1.0
    return policy.mode is Mode.TUNED and bare and policy.name in tuned_names()


def split_of(scenario: Scenario) -> Split:
    source = scenario.source
    if not isinstance(source, TraceSource):
        past = replace(scenario, seed=scenario.seed + OTHER_SEED)
        return Split(past=past, train=past, judged=scenario)
    end_s = source.to_s if source.to_s is not None else source.from_s + workload_of(scenario).end_s
    from_s = source.from_s if source.from_s > 0 else end_s * FIRST_SHARE
    length_s = end_s - from_s

    def part(begin_s: float) -> Scenario:
        begin_s = max(0.0, begin_s)
        earlier = replace(source, from_s=begin_s, to_s=from_s)
        return replace(scenario, source=earlier, warmup_s=min(scenario.warmup_s, (from_s - begin_s) / 4))

    judged = replace(scenario, source=replace(source, from_s=from_s, to_s=source.to_s))
    return Split(past=part(from_s - MOST_S), train=part(from_s - length_s), judged=judged)


def past_of(scenario: Scenario) -> dict[str, Past]:
    """Hours of each model, the last one ending when the past does."""
    workload = workload_of(scenario)
    counts = counted(workload, [MINUTE_S] * len(workload.names), from_s=0.0)
    found = {}
    for name, row in zip(workload.names, counts, strict=True):
        whole = row[len(row) % 60 :] if len(row) >= 60 else np.concatenate((np.zeros(60 - len(row)), row))
        hours = whole.reshape(-1, 60) / MINUTE_S
        found[name] = Past(mean_per_s=tuple(hours.mean(axis=1).tolist()), peak_per_s=tuple(hours.max(axis=1).tolist()))
    return found


def _tuned(policy: PolicyChoice, train: Scenario, *, kept: Path | None, run_all: RunAll) -> PolicyChoice:
    """The cheapest setting of its grid that keeps the goal on the training part; else the one that comes nearest."""
    grid = [choice_of(policy.name, values) for values in grid_of(policy.name)]
    choices = [replace(choice, past=policy.past, line=policy.line) for choice in grid]
    file = None if kept is None else kept / f"{_key(policy, train)}.json"
    if file is not None and file.exists():
        return choices[int(json.loads(file.read_text())["setting"])]
    outcomes = run_all([(train, choice) for choice in choices], f"tuning {policy.name}")
    points = [Point(o.attainment_requests, o.replica_seconds, str(i)) for i, o in enumerate(outcomes)]
    frontier, goal = best_of(points), _goal(train)
    best = next((point for point in frontier if point.attainment >= goal), frontier[-1])
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps({"setting": int(best.label), "label": choices[int(best.label)].label}))
        part.replace(file)
    return choices[int(best.label)]


def _goal(scenario: Scenario) -> float:
    return max((model.slo.quantile for model in scenario.models.values() if model.slo), default=DEFAULT_GOAL)


def _key(policy: PolicyChoice, train: Scenario) -> str:
    source = train.source
    seen = source.path.stat() if isinstance(source, TraceSource) else None
    told = {
        "policy": policy.name,
        "code": _revision(),
        "scenario": repr(replace(train, policies=())),
        "trace": (seen.st_size, seen.st_mtime_ns) if seen else None,
        "past": {name: asdict(past) for name, past in policy.past.items()},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:24]


@cache
def _revision() -> str:
    digest, package = hashlib.sha256(), Path(__file__).parents[1]
    for name in DECIDING:
        for path in sorted((package / name).rglob("*.*")):
            if path.suffix in {".py", ".toml"}:
                digest.update(path.read_bytes())
    return digest.hexdigest()
