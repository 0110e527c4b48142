"""Wrong estimates: Sizewise told half, and twice, the load time that models have.

Live, a load time is corrected by the first loads that are seen; here it stays wrong for the whole run, the worst that
can be. Models load as they load.

python -m benchmarks.experiments.estimates TRACES [--cases nasa_http] [--load 35] [--seeds 1] [--hours 4]
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.experiments.cases import cases
from benchmarks.experiments.ratio import adversarial, shortened
from benchmarks.experiments.report import save
from benchmarks.experiments.runs import Task, run_all
from sizewise.core.profiles import LoadTime
from sizewise.simulation.parsing import choice
from sizewise.simulation.scenario import Scenario

FACTORS = (1.0, 0.5, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--cases", default="nasa_http,azure_llm_code,servegen_sample")
    parser.add_argument("--load", type=float, default=35.0)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    seeds = [int(word) for word in options.seeds.split(",")]
    named = {
        case.key: shortened(case.evaluate, options.hours)
        for case in cases(options.traces)
        if case.name in options.cases.split(",") and case.load_s == options.load and case.seed in seeds
    }
    named |= dict(adversarial(options.load))
    tasks = {
        (key, factor): Task(
            key=f"estimates {key} {options.hours:g} h x{factor:g}",
            scenario=mistaken(scenario, factor),
            policy=choice("sizewise"),
        )
        for key, scenario in named.items()
        for factor in FACTORS
    }
    found = run_all(list(tasks.values()), workers=options.workers)
    rows: list[dict[str, Any]] = []
    for (key, factor), task in tasks.items():
        row, right = found[task.key], found[tasks[key, 1.0].key]
        rows.append(
            {
                "case": key,
                "told": f"x{factor:g}",
                "in_time": round(row.attainment, 5),
                "replica_s": round(row.replica_s),
                "cost_to_right": round(row.replica_s / right.replica_s, 3),
                "in_time_to_right": round(row.attainment - right.attainment, 5),
            }
        )
    save("estimates", rows, note="simulated; the load time told, times a factor, never corrected")


def mistaken(scenario: Scenario, factor: float) -> Scenario:
    """All models told to load so many times as long as they do."""
    models = {}
    for name, model in scenario.models.items():
        load = LoadTime(load_s=factor * model.profile.load.total_s)
        models[name] = replace(model, told=replace(model.profile, load=load))
    return replace(scenario, models=models)


if __name__ == "__main__":
    main()
