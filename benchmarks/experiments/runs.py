"""Many simulations: each in a process, kept as JSON, so that what was interrupted goes on where it was."""

import hashlib
import json
import math
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from sizewise.simulation.bounding import bounds_of, put_beside
from sizewise.simulation.running import models_of, run_policy, setups_of, workload_of
from sizewise.simulation.scenario import PolicyChoice, Scenario

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "experiments"
DECIDING = ("core", "controller", "simulation")
"""Packages that a result depends on: a change in them makes it anew."""
GIVEN = ("benchmarks/scenarios.toml", "benchmarks/experiments/cases.py", "benchmarks/experiments/made_traces.py")


@dataclass(frozen=True, slots=True)
class Row:
    """What one policy did. Bounds are at its own attainment; None where they were not asked for."""

    key: str
    requests: int
    attainment: float
    attainment_minutes: float
    replica_s: float
    mean_replicas: float
    peak: int
    cold_starts: int
    cold_s: float
    byte_s: float
    shed: int
    bound_s: float | None
    certified_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """``key`` says all that distinguishes it from other tasks of the same source code."""

    key: str
    scenario: Scenario
    policy: PolicyChoice
    bounded: bool = False


def run(task: Task) -> Row:
    """Now, in this process."""
    scenario = task.scenario
    outcome = run_policy(scenario, task.policy)
    if task.bounded:
        workload = workload_of(scenario)
        models = models_of(scenario, workload.names)
        setups = setups_of(scenario, workload.names, models)
        bounds = bounds_of(scenario, workload, models=models, setups=setups)
        if bounds is not None:
            put_beside(outcome, bounds, usd_per_h=3600.0)
    return Row(
        key=task.key,
        requests=outcome.requests,
        attainment=outcome.attainment_requests,
        attainment_minutes=outcome.attainment_model_minutes,
        replica_s=outcome.replica_seconds,
        mean_replicas=outcome.mean_replicas,
        peak=outcome.peak_replicas,
        cold_starts=outcome.cold_starts,
        cold_s=outcome.cold_seconds,
        byte_s=outcome.memory_byte_seconds,
        shed=outcome.shed,
        bound_s=outcome.bound_cost,
        certified_s=outcome.bound_cost_certified,
    )


def run_all(tasks: Sequence[Task], *, workers: int) -> dict[str, Row]:
    """By key. What is in the cache already is not run again."""
    found = {task.key: row for task in tasks if (row := _kept(task.key)) is not None}
    todo = [task for task in tasks if task.key not in found]
    began_s = time.monotonic()
    for done, row in enumerate(_rows(todo, workers), start=1):
        found[row.key] = row
        _keep(row)
        left_s = (time.monotonic() - began_s) / done * (len(todo) - done)
        print(f"\r{done}/{len(todo)} runs, {math.ceil(left_s)} s left ", end="", file=sys.stderr, flush=True)
    if todo:
        print(file=sys.stderr)
    return found


def _rows(todo: Sequence[Task], workers: int) -> Iterator[Row]:
    if workers <= 1 or len(todo) <= 1:
        yield from map(run, todo)
        return
    # A fresh interpreter: forking one that may have threads is not safe
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for each in as_completed([pool.submit(run, task) for task in todo]):
            yield each.result()


@cache
def revision() -> str:
    """Of all source that a result depends on."""
    digest = hashlib.sha256()
    for package in DECIDING:
        for path in sorted((ROOT / "src" / "sizewise" / package).rglob("*.py")):
            digest.update(path.read_bytes())
    for name in GIVEN:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()[:12]


def _file(key: str) -> Path:
    return CACHE / revision() / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _kept(key: str) -> Row | None:
    path = _file(key)
    return Row(**json.loads(path.read_text())) if path.exists() else None


def _keep(row: Row) -> None:
    path = _file(row.key)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(asdict(row)))
    part.replace(path)
