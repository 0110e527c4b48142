"""Faro's setting: ten models, a cap of 36 replicas, no shedding, against today's autoscalers at equal replicas.

As in Faro (EuroSys 2025): 154 ms of service, loads of 35 s, a goal of 720 ms, queues of 50, at most four requests in
flight, round robin. ``--setting cluster`` is that of its real cluster, 180 ms and 65 s; ``mixed`` its two kinds of
models, where the smaller one's 100 ms and goal of 400 ms are assumed. Its input is not at hand: ten windows of six
hours of public Azure Functions series stand in, each scaled to one mean, and that mean is chosen so that three replicas
a model attain what they do there (83.7 % of model-minutes); four (98.9 % there) then say how alike the inputs are.

python -m benchmarks.experiments.faro TRACES [--cap 36] [--setting simulator] [--quick] [--policies hpa,kpa]
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.experiments.cases import model_like
from benchmarks.experiments.frontiers import Point, cost_at
from benchmarks.experiments.made_traces import minutes_of, written
from benchmarks.experiments.report import save
from benchmarks.experiments.runs import Row, Task, run, run_all
from sizewise.simulation.grids import choice_of
from sizewise.simulation.parsing import choice
from sizewise.simulation.regret import with_quantile
from sizewise.simulation.scenario import Capacity, Dispatch, Mode, PolicyChoice, Scenario, TraceSource

DAY_S = 86400.0
SERIES = {"func-e369a477": (1, 2, 3, 4, 7, 8, 9), "func-bd33ce4b": (2, 4, 8)}
"""Days of the series that run all the time; the others of the file are asleep for most of a day, unlike Faro's."""
BEGINS_S = 9 * 3600.0
MEAN_PER_MINUTE = 744.0
"""Of a model, in Faro's input."""
STATIC_3, STATIC_4 = 0.837, 0.989
DECIDE_EVERY_S = 5.0
"""Of Sizewise; Faro's own loop takes 10."""
TARGETS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
QUANTILES = (0.5, 0.9, 0.95, 0.99)
QUICK_TARGETS, QUICK_QUANTILES, QUICK_MINUTES = (0.8, 1.2), (0.9, 0.99), 120
OTHER_KEYS = {"faro": ("solve_interval_s", (60.0, 120.0)), "wva": ("scale_up_threshold", (0.6, 1.0))}
"""What is varied where there is no target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """(service, goal) in seconds of each kind of model in turn."""

    kinds: tuple[tuple[float, float], ...]
    load_s: float


SETTINGS = {
    "simulator": Setting(kinds=((0.154, 0.72),), load_s=35.0),
    "cluster": Setting(kinds=((0.18, 0.72),), load_s=65.0),
    "mixed": Setting(kinds=((0.18, 0.72), (0.1, 0.4)), load_s=65.0),
}
RIVALS = ("hpa", "hpa_concurrency", "kpa", "keda", "ray_serve", "skyserve", "sagemaker", "aibrix_apa", "wva", "faro")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--cap", type=int, default=36)
    parser.add_argument("--setting", choices=SETTINGS, default="simulator")
    parser.add_argument("--minutes", type=int, default=None)
    parser.add_argument("--quick", action="store_true", help="two hours, few settings of each")
    parser.add_argument("--policies", default=",".join(RIVALS))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    minutes = options.minutes or (QUICK_MINUTES if options.quick else 360)
    path = _input(options.traces / "azure_functions_2019_public.rate.csv.gz", minutes=minutes)
    setting = SETTINGS[options.setting]
    # Their input is one and the same for all settings: found where it is known what static replicas attain
    scale = calibrated(path)
    told = scenario_of(path, setting, scale=scale, cap=options.cap)
    names = options.policies.split(",")
    where = f"faro {path.name} {options.setting} scale {scale:.3f} cap {options.cap}"
    tasks = {
        label: Task(key=f"{where} {label}", scenario=scenario, policy=policy)
        for label, scenario, policy in _settings(told, names, quick=options.quick)
    }
    found = run_all(list(tasks.values()), workers=options.workers)
    rows = {label: found[task.key] for label, task in tasks.items()}
    own = [row for label, row in rows.items() if label.startswith("sizewise")]
    shown = [_row(label, row, own) for label, row in rows.items()]
    note = (
        f"simulated; {options.setting}, cap {options.cap}, {minutes} minutes; "
        f"scale {scale:.3f} of {MEAN_PER_MINUTE:g} requests a minute and model"
    )
    save("faro", shown, note=note, more={"published": {"static_3": STATIC_3, "static_4": STATIC_4}})


def _input(file: Path, *, minutes: int) -> Path:
    counts = {}
    for series, days in SERIES.items():
        for day in days:
            found = minutes_of(file, series, from_s=day * DAY_S + BEGINS_S, minutes=minutes)
            counts[f"{series}-day{day}"] = found * (MEAN_PER_MINUTE / max(float(found.mean()), 1e-9))
    return written(f"faro_{minutes}", counts, bucket_s=60.0)


def scenario_of(path: Path, setting: Setting, *, scale: float, cap: int) -> Scenario:
    names = [f"{series}-day{day}" for series, days in SERIES.items() for day in days]
    models = {}
    for name, (service_s, goal_s) in zip(names, itertools.cycle(setting.kinds), strict=False):
        model = model_like(service_s, cv=0.21, load_s=setting.load_s, goal_s=goal_s, queue=50)
        models[name] = replace(model, timeout_s=60.0)
    return Scenario(
        file="faro",
        source=TraceSource(path=path, scale=scale),
        models=models,
        capacity=Capacity(replicas=cap),
        policies=(),
        shedding=False,
        dispatch=Dispatch.ROUND_ROBIN,
        max_in_flight=4,
        decide_every_s=DECIDE_EVERY_S,
    )


def calibrated(path: Path) -> float:
    """The scale at which three replicas of each model attain what Faro's do."""
    low, high = 0.3, 2.0
    for _ in range(7):
        middle = (low + high) / 2
        row = run(_static(scenario_of(path, SETTINGS["simulator"], scale=middle, cap=40), 3))
        low, high = (middle, high) if row.attainment_minutes > STATIC_3 else (low, middle)
    return round((low + high) / 2, 3)


def _static(scenario: Scenario, replicas: int) -> Task:
    policy = PolicyChoice(name="static", mode=Mode.STOCK, parameters={"replicas": replicas})
    return Task(key="", scenario=scenario, policy=policy)


def _settings(scenario: Scenario, names: Sequence[str], *, quick: bool) -> list[tuple[str, Scenario, PolicyChoice]]:
    quantiles, factors = (QUICK_QUANTILES, QUICK_TARGETS) if quick else (QUANTILES, TARGETS)
    found = [(f"sizewise p{100 * q:g}", with_quantile(scenario, q), choice("sizewise")) for q in quantiles]
    found += [
        (f"static {n}", replace(scenario, capacity=Capacity(replicas=40)), _static(scenario, n).policy) for n in (3, 4)
    ]
    for name in names:
        policies = [choice(name), choice(f"{name}:calibrated")]
        if name in OTHER_KEYS:
            key, values = OTHER_KEYS[name]
            policies += [choice_of(name, {key: value}) for value in values]
        else:
            policies += [choice_of(name, {"target": factor}) for factor in factors if factor != 1.0]
        found += [(policy.label, scenario, policy) for policy in policies]
    return found


def _row(label: str, row: Row, own: Sequence[Row]) -> dict[str, Any]:
    """``sizewise_at_equal`` is what Sizewise attains at as many replicas; empty where it never uses so few."""
    # The frontier read the other way: as cost over attainment, it is attainment over cost
    points = [Point(each.attainment_minutes, each.mean_replicas) for each in own]
    beside = attained_at(points, row.mean_replicas)
    return {
        "policy": label,
        "replicas": round(row.mean_replicas, 2),
        "peak": row.peak,
        "model_minutes": round(row.attainment_minutes, 4),
        "requests": round(row.attainment, 4),
        "sizewise_at_equal": None if beside is None else round(beside, 4),
    }


def attained_at(points: Sequence[Point], cost: float) -> float | None:
    """The most that a frontier attains for so much; None where it begins dearer. Within 0.0001."""
    low, high = 0.0, 1.0
    if not points or min(point.cost for point in points) > cost:
        return None
    while high - low > 1e-4:
        middle = (low + high) / 2
        needed = cost_at(points, middle)
        low, high = (middle, high) if needed is not None and needed <= cost else (low, middle)
    return low


if __name__ == "__main__":
    main()
