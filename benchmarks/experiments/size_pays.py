"""Does size pay? The same controller on the same traffic, told the truth about its models or something else.

(a) ``true``; (b) ``median``: the median load time and memory for every model; (c) ``shuffled``: those of another;
(d) ``typed``: powers of ten, as somebody would type them. What is told never changes what is: a model loads as it loads
and takes what it takes. What is paid is the memory of one machine; a machine that holds a share of the catalogue is the
setting that costs are swept over, and costs at equal attainment are read off each one's frontier.

python -m benchmarks.experiments.size_pays [--models 12] [--hours 4] [--seeds 1,2,3] [--spreads 1,10,100]
"""

import argparse
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean, median
from typing import Any

import numpy as np

from benchmarks.common import margin95
from benchmarks.experiments.cases import HOUR_S, WARM_UP_S, model_like, names_of, scenario_of, spread_loads
from benchmarks.experiments.frontiers import Point, cost_at
from benchmarks.experiments.report import save
from benchmarks.experiments.runs import Row, Task, run_all
from sizewise.simulation.generators import fitted
from sizewise.simulation.parsing import choice
from sizewise.simulation.scenario import Capacity, Generator, MachinePool, SimModel
from sizewise.simulation.spread import constant

MEDIAN_LOAD_S = 20.0
TOLD = ("true", "median", "shuffled", "typed")
ROOMS = (0.25, 0.35, 0.5, 0.7, 1.0)
"""Memory of the machine over that of one replica of every model."""
CPUS = 64.0
DECIDE_EVERY_S = 5.0
"""Not every second, as live, to have an answer in minutes; a request for a model that sleeps is seen at once."""
ATTAINMENTS = (0.8, 0.9, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=12)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--spreads", default="1,10,100")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    seeds = [int(word) for word in options.seeds.split(",")]
    spreads = [float(word) for word in options.spreads.split(",")]
    traffic = replace(
        fitted("zipf"),
        duration_s=options.hours * HOUR_S + WARM_UP_S,
        models=options.models,
        rate_per_s=0.1 * options.models,
        exponent=0.5,
        on_s=600.0,
        off_s=1800.0,
    )
    settings = list(itertools.product(spreads, seeds, TOLD, ROOMS))
    tasks = {setting: _task(traffic, *setting) for setting in settings}
    found = run_all(list(tasks.values()), workers=options.workers)
    rows = {setting: found[task.key] for setting, task in tasks.items()}
    shown = [each for spread in spreads for each in _compared(rows, spread, seeds)]
    save("size_pays", shown, note=f"simulated; means of {len(seeds)} seeds; loads around {MEDIAN_LOAD_S:g} s")


def _task(traffic: Generator, spread: float, seed: int, told: str, room: float) -> Task:
    loads = spread_loads(MEDIAN_LOAD_S, spread, traffic.models, seed=seed)
    believed = told_loads(loads, told, seed=seed)
    models = [_model(load_s, other_s) for load_s, other_s in zip(loads, believed, strict=True)]
    memory_bytes = int(room * sum(model.profile.memory.replica_bytes for model in models))
    machine = MachinePool(
        name="one", cpus=CPUS, memory_bytes=memory_bytes, least=1, provision=constant(0.0), load_slots=len(models)
    )
    scenario = replace(
        scenario_of("size_pays", traffic, dict(zip(names_of(len(models)), models, strict=True)), seed=seed),
        capacity=Capacity(machines=(machine,)),
        start_replicas=0,
        decide_every_s=DECIDE_EVERY_S,
    )
    key = f"size_pays {traffic} spread {spread:g} seed {seed} {told} room {room:g}"
    return Task(key=key, scenario=scenario, policy=choice("sizewise"))


def _model(load_s: float, told_s: float) -> SimModel:
    def made(seconds: float) -> SimModel:
        return model_like(0.1, cv=0.3, load_s=seconds, goal_s=0.6, queue=1000)

    return replace(made(load_s), told=made(told_s).profile, hold_s=600.0, timeout_s=600.0)


def told_loads(loads_s: Sequence[float], told: str, *, seed: int) -> list[float]:
    """What the controller believes. Memory follows from it, as it does in truth."""
    if told == "median":
        return [median(loads_s)] * len(loads_s)
    if told == "shuffled":
        order = np.random.default_rng((seed, 43)).permutation(len(loads_s))
        return [loads_s[i] for i in order]
    if told == "typed":
        return [10.0 ** round(math.log10(load_s)) for load_s in loads_s]
    return list(loads_s)


def _compared(rows: Mapping[Any, Row], spread: float, seeds: Sequence[int]) -> list[dict[str, Any]]:
    return [_at(rows, spread, seeds, attainment=each) for each in ATTAINMENTS] + [
        _in(rows, spread, seeds, room=room) for room in ROOMS
    ]


def _at(rows: Mapping[Any, Row], spread: float, seeds: Sequence[int], *, attainment: float) -> dict[str, Any]:
    """Memory at equal attainment, seed by seed: how much more is needed when something else than the truth is told."""
    shown: dict[str, Any] = {"spread": spread, "at": f"{attainment:g} in time"}
    costs = {told: [_cost(rows, spread, seed, told, attainment) for seed in seeds] for told in TOLD}
    shown["true_room"] = round(mean(known), 3) if (known := [c for c in costs["true"] if c]) else None
    for told in TOLD[1:]:
        ratios = [other / true for other, true in zip(costs[told], costs["true"], strict=True) if other and true]
        if ratios:
            shown[f"{told}_dearer"] = round(mean(ratios) - 1, 3)
            shown[f"{told}_ci95"] = round(margin95(ratios), 3)
        shown[f"{told}_seeds"] = len(ratios)
    return shown


def _in(rows: Mapping[Any, Row], spread: float, seeds: Sequence[int], *, room: float) -> dict[str, Any]:
    """What a machine of this size attains."""
    each = {told: [rows[spread, seed, told, room] for seed in seeds] for told in TOLD}
    return {
        "spread": spread,
        "at": f"room {room:g}",
        **{f"{told}_in_time": round(mean(row.attainment for row in found), 4) for told, found in each.items()},
        **{f"{told}_cold_s": round(mean(row.cold_s for row in found)) for told, found in each.items()},
    }


def _cost(rows: Mapping[Any, Row], spread: float, seed: int, told: str, attainment: float) -> float | None:
    found = [(room, rows[spread, seed, told, room]) for room in ROOMS]
    return cost_at([Point(row.attainment, room) for room, row in found], attainment)


if __name__ == "__main__":
    main()
