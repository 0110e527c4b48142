"""Today's autoscalers at their best: settings of a published grid tried on one part of a trace, the best on another.

The settings that nothing beats on the training part are run on the part that is judged, which tuning never sees. What
Sizewise is asked for is all that it can be set: the quantile of the goal. Costs are read off the frontiers.
Each also runs as it comes (stock) and with targets calibrated from the model's profile: one setting, and beside it what
Sizewise costs at its attainment.

python -m benchmarks.experiments.tune TRACES [--cases nasa_http] [--load 35] [--seeds 1] [--policies hpa,kpa]
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiments.cases import Case, cases, with_quantile
from benchmarks.experiments.frontiers import Point, cost_at, worth_trying
from benchmarks.experiments.report import save
from benchmarks.experiments.runs import Row, Task, run_all
from sizewise.simulation.grids import choice_of, grid_of, tuned_names
from sizewise.simulation.parsing import choice
from sizewise.simulation.scenario import PolicyChoice

ATTAINMENTS = (0.99, 0.999)
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
JUDGED = 10
"""Settings of each autoscaler that go from training to the part that is judged."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    parser.add_argument("--cases", default="")
    parser.add_argument("--load", default="")
    parser.add_argument("--seeds", default="")
    parser.add_argument("--policies", default=",".join(tuned_names()))
    parser.add_argument("--every", type=int, default=1, help="only every so many settings of a grid: a quick look")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    chosen = [case for case in cases(options.traces) if _wanted(case, options)]
    names = options.policies.split(",")
    rows = tuned(chosen, names, every=options.every, workers=options.workers)
    save("tune", rows, note=f"simulated; replica-seconds at equal attainment; every {options.every} of each grid")


def _wanted(case: Case, options: argparse.Namespace) -> bool:
    asked = ((options.cases, case.name), (options.load, f"{case.load_s:g}"), (options.seeds, str(case.seed)))
    return all(not given or value in given.split(",") for given, value in asked)


def tuned(chosen: Sequence[Case], names: Sequence[str], *, every: int, workers: int) -> list[dict[str, Any]]:
    """One row a case and policy, ``sizewise`` first."""
    training = {
        (case.key, name): [choice_of(name, values) for values in grid_of(name)[::every]]
        for case in chosen
        for name in names
    }
    tasks = [
        _task(case, policy, part="train") for case in chosen for name in names for policy in training[case.key, name]
    ]
    trained = run_all(tasks, workers=workers)
    judged = {
        (case.key, name): list(_promising(case, training[case.key, name], trained)) for case in chosen for name in names
    }
    own = [_own(case, quantile) for case in chosen for quantile in QUANTILES]
    tasks = [
        _task(case, policy, part="evaluate")
        for case in chosen
        for name in names
        for policy in (*judged[case.key, name], *_plain(name))
    ]
    found = run_all([*own, *tasks], workers=workers)
    rows = []
    for case in chosen:
        ours = [found[_own(case, quantile).key] for quantile in QUANTILES]
        rows.append(_row(case, "sizewise", ours, ours, settings=len(ours)))
        for name in names:
            policies = judged[case.key, name]
            theirs = [found[_task(case, policy, part="evaluate").key] for policy in policies]
            rows.append(_row(case, f"{name} tuned", theirs, ours, settings=len(training[case.key, name])))
            plain = [(policy.label, found[_task(case, policy, part="evaluate").key]) for policy in _plain(name)]
            rows += [_beside(case, label, row, ours) for label, row in plain]
    return rows


def _plain(name: str) -> list[PolicyChoice]:
    """Without any tuning."""
    return [choice(name), choice(f"{name}:calibrated")]


def _task(case: Case, policy: PolicyChoice, *, part: str) -> Task:
    scenario = case.train if part == "train" else case.evaluate
    return Task(key=f"{case.key} {part} {policy.label}", scenario=scenario, policy=policy)


def _own(case: Case, quantile: float) -> Task:
    return Task(
        key=f"{case.key} evaluate sizewise p{quantile:g}",
        scenario=with_quantile(case.evaluate, quantile),
        policy=choice("sizewise"),
        bounded=True,
    )


def _promising(case: Case, policies: Sequence[PolicyChoice], trained: dict[str, Row]) -> Iterator[PolicyChoice]:
    by_label = {policy.label: policy for policy in policies}
    rows = ((policy.label, trained[_task(case, policy, part="train").key]) for policy in policies)
    points = [Point(row.attainment, row.replica_s, label) for label, row in rows]
    for point in worth_trying(points, attainments=ATTAINMENTS, most=JUDGED):
        yield by_label[point.label]


def _beside(case: Case, label: str, row: Row, ours: Sequence[Row]) -> dict[str, Any]:
    """One setting, and Sizewise at the same attainment; where it attains more than Sizewise ever does, at its best."""
    own = [Point(each.attainment, each.replica_s) for each in ours]
    beside = cost_at(own, min(row.attainment, max(point.attainment for point in own)))
    return {
        "case": case.key,
        "policy": label,
        "settings": 1,
        "best": round(row.attainment, 5),
        "replica_s": round(row.replica_s),
        "sizewise_over_it": None if beside is None or row.replica_s <= 0 else round(beside / row.replica_s, 3),
    }


def _row(case: Case, name: str, rows: Sequence[Row], ours: Sequence[Row], *, settings: int) -> dict[str, Any]:
    points = [Point(row.attainment, row.replica_s, row.key) for row in rows]
    own = [Point(row.attainment, row.replica_s) for row in ours]
    found: dict[str, Any] = {
        "case": case.key,
        "policy": name,
        "settings": settings,
        "best": round(max(point.attainment for point in points), 5),
    }
    for attainment in ATTAINMENTS:
        cost, beside = cost_at(points, attainment), cost_at(own, attainment)
        found[f"replica_s_at_{attainment:g}"] = None if cost is None else round(cost)
        found[f"sizewise_over_it_at_{attainment:g}"] = (
            None if cost is None or beside is None else round(beside / cost, 3)
        )
    return found


if __name__ == "__main__":
    main()
