"""How far from the best: the cost of Sizewise over what its own attainment costs at the least, with all known.

On public traces, and on traffic made to hurt: on and off at the period of the load time, spikes that are over before a
load ends, two models that are never busy at once. The bound is the Erlang version; the certified one stands beside it.

python -m benchmarks.experiments.ratio TRACES [--cases nasa_http] [--loads 5,35,300] [--seeds 1] [--hours 4]
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.experiments.cases import HOUR_S, WARM_UP_S, cases, model_like, scenario_of
from benchmarks.experiments.made_traces import spikes, square, written
from benchmarks.experiments.report import save
from benchmarks.experiments.runs import Row, Task, run_all
from sizewise.simulation.parsing import choice
from sizewise.simulation.scenario import Scenario, TraceSource

LOADS = 40
"""Adversarial traffic lasts so many load times, and an hour at the least."""
HIGH_PER_S = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--cases", default="nasa_http,azure_functions_busy,azure_llm_code,servegen,servegen_sample")
    parser.add_argument("--loads", default="5,35,300")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--hours", type=float, default=4.0, help="of each part that is judged")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    loads, seeds = _numbers(options.loads), _numbers(options.seeds)
    named: list[tuple[str, str, Scenario]] = [
        ("public", case.key, shortened(case.evaluate, options.hours))
        for case in cases(options.traces)
        if case.name in options.cases.split(",") and case.load_s in loads and case.seed in seeds
    ]
    named += [("adversarial", *each) for load_s in loads for each in adversarial(load_s)]
    tasks = [
        Task(key=f"ratio {key} {options.hours:g} h", scenario=told, policy=choice("sizewise"), bounded=True)
        for _, key, told in named
    ]
    found = run_all(tasks, workers=options.workers)
    rows = [_row(kind, key, found[task.key]) for (kind, key, _), task in zip(named, tasks, strict=True)]
    save("ratio", rows, note="simulated; replica-seconds over the bound at the same attainment", more=summary(rows))


def _numbers(words: str) -> list[float]:
    return [float(word) for word in words.split(",")]


def shortened(scenario: Scenario, hours: float) -> Scenario:
    """Its first hours."""
    source = scenario.source
    if not isinstance(source, TraceSource):
        return replace(scenario, source=replace(source, duration_s=min(source.duration_s, hours * HOUR_S)))
    to_s = source.from_s + hours * HOUR_S + WARM_UP_S
    return replace(scenario, source=replace(source, to_s=min(to_s, source.to_s or to_s)))


def adversarial(load_s: float) -> Iterator[tuple[str, Scenario]]:
    """(name, scenario): nothing of it depends on what anybody does."""
    seconds, load = int(max(LOADS * load_s, HOUR_S) + WARM_UP_S), max(2, round(load_s))
    made = {
        "on-off": {"only": square(2 * load, on_share=0.5, high=HIGH_PER_S, low=0.0, seconds=seconds)},
        "spikes": {"only": spikes(10 * load, lasts_s=max(1, load // 2), high=3 * HIGH_PER_S, low=1.0, seconds=seconds)},
        "alternating": {
            "even": square(4 * load, on_share=0.5, high=HIGH_PER_S, low=0.0, seconds=seconds),
            "odd": HIGH_PER_S - square(4 * load, on_share=0.5, high=HIGH_PER_S, low=0.0, seconds=seconds),
        },
    }
    model = model_like(0.1, cv=0.2, load_s=load_s, goal_s=0.6)
    for name, counts in made.items():
        path = written(f"{name}_{load_s:g}", counts, bucket_s=1.0)
        yield f"{name} load {load_s:g} s", scenario_of(name, TraceSource(path=path), {"*": model}, seed=1)


def _row(kind: str, key: str, row: Row) -> dict[str, Any]:
    certain = row.certified_s
    return {
        "kind": kind,
        "case": key,
        "in_time": round(row.attainment, 5),
        "replicas": round(row.mean_replicas, 2),
        "bound_replica_s": None if row.bound_s is None else round(row.bound_s),
        "cost_to_bound": round(row.replica_s / row.bound_s, 3) if row.bound_s else None,
        "cost_to_certified": round(row.replica_s / certain, 3) if certain else None,
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Median and worst of each kind."""
    found: dict[str, float] = {}
    for kind in ("public", "adversarial"):
        ratios = [row["cost_to_bound"] for row in rows if row["kind"] == kind and row["cost_to_bound"] is not None]
        if ratios:
            found |= {f"{kind}_median": round(median(ratios), 3), f"{kind}_worst": max(ratios)}
    return found


if __name__ == "__main__":
    main()
