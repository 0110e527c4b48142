"""How many devices a long tail of models needs, by the rule that says what stays in memory.

A catalogue from 1 MB to 140 GB, popularity by Zipf's law, each model on and off; devices of 144 GB that models share.
The controller is the same for all, and only its rule about unused models differs; the fewest devices with which 99 % of
requests are in time, loads included, are looked for by halving. Beside them stand the offline packing bound (all known
in advance, loads in no time, nothing lost between devices) and, as context only, the devices that hold one replica of
every model for good.

python -m benchmarks.experiments.devices [--models 100] [--hours 2] [--seeds 1,2,3] [--rules ours,landlord]
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.common import margin95
from benchmarks.experiments.cases import HOUR_S, WARM_UP_S, model_like, names_of, scenario_of
from benchmarks.experiments.report import save
from benchmarks.experiments.runs import Task, run_all
from sizewise.core.sizing import capacity_of, replicas_for
from sizewise.simulation.bounds.packing import devices_bound
from sizewise.simulation.generators import fitted
from sizewise.simulation.parsing import choice
from sizewise.simulation.pools import MINUTE_S
from sizewise.simulation.running import models_of, workload_of
from sizewise.simulation.scenario import Capacity, MachinePool, Scenario, SimModel
from sizewise.simulation.workload import counted

SMALLEST, LARGEST = 1e6, 140e9
DEVICE_BYTES = 144_000_000_000
START_S, BYTES_PER_S = 2.0, 1.5e9
"""A load is a process and a read."""
GOAL_S = 10.0
RATE_PER_MODEL_S = 0.05
IN_TIME = 0.99
DECIDE_EVERY_S = 5.0
OURS = "ours:inf"
"""Devices are paid for anyway: nothing goes by time."""
RIVALS = ("lru_bytes", "lru_count:30", "ttl:600", "landlord")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--rules", default=",".join((OURS, *RIVALS)))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    rules, seeds = options.rules.split(","), [int(word) for word in options.seeds.split(",")]
    worlds = {seed: world_of(options.models, options.hours, seed=seed) for seed in seeds}
    found = fewest(worlds, rules, workers=options.workers)
    rows = [_row(worlds[seed], found, seed=seed, rules=rules) for seed in seeds]
    note = f"simulated; fewest devices of 144 GB with {IN_TIME:.0%} of requests within {GOAL_S:g} s"
    save("devices", rows, note=note, more={"over": summary(rows, rules)})


def world_of(models: int, hours: float, *, seed: int) -> Scenario:
    """Its machines are filled in by the search."""
    rng = np.random.default_rng((seed, 53))
    # Evenly on the logarithm, so that every seed has the whole range, in an order by chance
    sizes = rng.permutation(np.geomspace(SMALLEST, LARGEST, models))
    traffic = replace(
        fitted("zipf"),
        duration_s=hours * HOUR_S + WARM_UP_S,
        models=models,
        rate_per_s=RATE_PER_MODEL_S * models,
        exponent=1.0,
        on_s=1800.0,
        off_s=7200.0,
    )
    told = {name: _model(float(size)) for name, size in zip(names_of(models), sizes, strict=True)}
    scenario = scenario_of("devices", traffic, told, seed=seed)
    return replace(scenario, decide_every_s=DECIDE_EVERY_S, start_replicas=0)


def _model(size: float) -> SimModel:
    model = model_like(0.2, cv=0.3, load_s=START_S + size / BYTES_PER_S, goal_s=GOAL_S)
    memory = replace(model.profile.memory, resident_bytes=int(size), peak_bytes=int(size))
    return replace(model, profile=replace(model.profile, memory=memory))


def on_devices(scenario: Scenario, devices: int, rule: str) -> Scenario:
    pool = MachinePool(
        name="device", cpus=64.0, memory_bytes=DEVICE_BYTES, price_usd_per_h=1.0, least=devices, most=devices
    )
    return replace(scenario, capacity=Capacity(machines=(pool,)), warmth=rule)


def fewest(worlds: dict[int, Scenario], rules: Sequence[str], *, workers: int) -> dict[tuple[int, str], int]:
    """Devices by seed and rule; all searches go on side by side, one halving of each at a time."""
    most = {seed: whole(scenario) + 1 for seed, scenario in worlds.items()}
    ends = {(seed, rule): (0, most[seed]) for seed in worlds for rule in rules}
    while todo := {key: (low + high) // 2 for key, (low, high) in ends.items() if high - low > 1}:
        tasks = {key: _task(worlds[key[0]], devices, key[1]) for key, devices in todo.items()}
        rows = run_all(list(tasks.values()), workers=workers)
        for key, devices in todo.items():
            low, high = ends[key]
            enough = rows[tasks[key].key].attainment >= IN_TIME
            ends[key] = (low, devices) if enough else (devices, high)
    return {key: high for key, (_, high) in ends.items()}


def _task(scenario: Scenario, devices: int, rule: str) -> Task:
    source = scenario.source
    key = f"devices {source} seed {scenario.seed} rule {rule} on {devices}"
    return Task(key=key, scenario=on_devices(scenario, devices, rule), policy=choice("sizewise"))


def whole(scenario: Scenario) -> int:
    """Devices that hold one replica of every model: the first that has room, largest first."""
    rooms: list[int] = []
    for size in sorted((model.profile.memory.replica_bytes for model in scenario.models.values()), reverse=True):
        place = next((i for i, room in enumerate(rooms) if room >= size), None)
        if place is None:
            rooms.append(DEVICE_BYTES)
            place = len(rooms) - 1
        rooms[place] -= size
    return len(rooms)


def bound(scenario: Scenario) -> int:
    workload = workload_of(scenario)
    models = models_of(scenario, workload.names)
    requests = np.array(counted(workload, [MINUTE_S] * len(models), from_s=scenario.counted_from_s))
    held_bytes = np.zeros_like(requests)
    for place, model in enumerate(models):
        capacity = capacity_of(model.profile, model.slo)
        # As many replicas as the rate of the minute needs; a rate is all the same for most minutes
        rates, which = np.unique(requests[place] / MINUTE_S, return_inverse=True)
        replicas = np.array([replicas_for(capacity, float(rate)) for rate in rates], np.float64)
        held_bytes[place] = replicas[which] * model.profile.memory.replica_bytes
    return devices_bound(requests, held_bytes, device_bytes=DEVICE_BYTES, late_share=1.0 - IN_TIME)


def _row(scenario: Scenario, found: dict[tuple[int, str], int], *, seed: int, rules: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"seed": seed, "bound": bound(scenario), "one_each": whole(scenario)}
    return {**row, **{rule: found[seed, rule] for rule in rules}}


def summary(rows: Sequence[dict[str, Any]], rules: Sequence[str]) -> dict[str, Any]:
    """Ours over the bound, and over the best of the other rules, as means with 95 % intervals."""
    rivals = [rule for rule in rules if rule != OURS]
    if OURS not in rules:
        return {}
    over = {"bound": [row[OURS] / row["bound"] for row in rows]}
    if rivals:
        over["best_rival"] = [row[OURS] / min(row[rule] for rule in rivals) for row in rows]
    return {name: {"mean": round(mean(ratios), 3), "ci95": round(margin95(ratios), 3)} for name, ratios in over.items()}


if __name__ == "__main__":
    main()
