"""Several policies on one scenario, side by side, each in a process of its own."""

import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

from sizewise.core.policies.registry import POLICIES
from sizewise.protocols.errors import UnavailableError, UsageError
from sizewise.simulation.bounding import bounds_of, put_beside
from sizewise.simulation.calibrating import incumbent_for, joint_for
from sizewise.simulation.frontiers import Point
from sizewise.simulation.parsing import OWN
from sizewise.simulation.regret import Run, Rung, ladder, ladder_runs, settings_of
from sizewise.simulation.running import Outcome, models_of, run_policy, setups_of, workload_of
from sizewise.simulation.scenario import Mode, PolicyChoice, Scenario, SimModel
from sizewise.simulation.training import learned
from sizewise.simulation.workload import Workload

OnProgress = Callable[[str, float], None]
"""(policy, share of its time that has passed)."""
MORE = "other settings"
"""What progress calls all that follows a comparison."""
STEPS = 200
"""Progress is told so often at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What each policy did, and how much there was to do."""

    scenario: Scenario
    end_s: float
    models: int
    outcomes: tuple[Outcome, ...]
    frontiers: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    """By label: attainment of model-minutes and mean replicas of each policy in several settings; empty: not asked."""
    ladder: tuple[Rung, ...] = ()
    """From Sizewise as it is to the best that is possible; empty where it was not asked for, or did not take part."""


def compare(
    scenario: Scenario,
    policies: Sequence[PolicyChoice] | None = None,
    *,
    full: bool = False,
    kept: Path | None = None,
    on_progress: OnProgress = lambda _n, _s: None,
) -> Compared:
    """Every policy on the same arrivals. Raises SizewiseError for whatever is wrong, before anything runs.

    ``full``: each in several settings as well, and the regret ladder; that takes five to ten times as long. ``kept``:
    a folder in which tuned settings are kept.
    """
    chosen = list(policies if policies is not None else scenario.policies)
    _checked(scenario, chosen)

    def tried(runs: Sequence[Run], name: str) -> tuple[Outcome, ...]:
        return run_all(runs, end_s=0.0, on_progress=on_progress, together=name)

    scenario, chosen = learned(scenario, chosen, kept=kept, run_all=tried)
    workload, models = _checked(scenario, chosen)
    outcomes = run_all([(scenario, policy) for policy in chosen], end_s=workload.end_s, on_progress=on_progress)
    bounds = bounds_of(scenario, workload, models=models, setups=setups_of(scenario, workload.names, models))
    if bounds is not None:
        for outcome in outcomes:
            put_beside(outcome, bounds, usd_per_h=scenario.capacity.replica_usd_per_h)
    compared = Compared(scenario=scenario, end_s=workload.end_s, models=len(models), outcomes=outcomes)
    return _with_more(compared, chosen, on_progress) if full else compared


def _checked(scenario: Scenario, chosen: Sequence[PolicyChoice]) -> tuple[Workload, list[SimModel]]:
    workload = workload_of(scenario)
    models = models_of(scenario, workload.names)
    if scenario.counted_from_s >= workload.end_s:
        raise UsageError(
            f"{scenario.file}: window.warmup_s is {scenario.warmup_s:g}, and the trace is {workload.end_s:g} s long: "
            f"leave something to count"
        )
    for policy in chosen:
        if policy.name in POLICIES:
            for model in {id(model): model for model in models}.values():
                incumbent_for(policy, model, file=scenario.file)
        elif policy.name != OWN:
            joint_for(policy, models, scenario)
        elif policy.parameters:
            raise UsageError(f"{scenario.file}: sizewise has no parameters: its time constants come from size")
    return workload, models


def _with_more(compared: Compared, chosen: Sequence[PolicyChoice], on_progress: OnProgress) -> Compared:
    """All that follows a comparison goes through one pool of processes."""
    scenario = compared.scenario
    own = next((o for o in compared.outcomes if (o.policy, o.mode) == (OWN, Mode.STOCK)), None)
    asked = {
        outcome.label: settings_of(scenario, policy) for outcome, policy in zip(compared.outcomes, chosen, strict=True)
    }
    rungs = ladder_runs(scenario) if own is not None else {}
    runs = [run for each in (*asked.values(), *rungs.values()) for run in each]
    found = iter(run_all(runs, end_s=compared.end_s, on_progress=on_progress, together=MORE))
    frontiers = {
        label: tuple(Point(o.attainment_model_minutes, o.mean_replicas) for o in itertools.islice(found, len(each)))
        for label, each in asked.items()
    }
    known = {name: list(itertools.islice(found, len(each))) for name, each in rungs.items()}
    steps = ladder(scenario, own, known) if own is not None else ()
    return replace(compared, frontiers=frontiers, ladder=steps)


def run_all(
    runs: Sequence[Run], *, end_s: float, on_progress: OnProgress, together: str | None = None
) -> tuple[Outcome, ...]:
    """In processes of their own, one run for each core at a time. ``together``: told of as one thing of this name."""
    if len(runs) == 1:
        ((scenario, policy),) = runs
        return (run_policy(scenario, policy, tell=_teller(together or policy.label, end_s, on_progress)),)
    # A fresh interpreter: forking one that may have threads is not safe
    context = multiprocessing.get_context("spawn")
    told = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(told, on_progress), daemon=True)
    listener.start()
    workers = min(len(runs), os.cpu_count() or 1)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(told,))
    try:
        if together is None:
            running = [pool.submit(_run, scenario, policy, end_s) for scenario, policy in runs]
        else:
            running = [pool.submit(run_policy, scenario, policy) for scenario, policy in runs]
        for done, _ in enumerate(as_completed(running) if together else (), start=1):
            on_progress(together or "", done / len(running))
        return tuple(each.result() for each in running)
    except MemoryError as error:
        raise UnavailableError("a simulation ran out of memory: simulate a shorter window or fewer models") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        told.put(None)
        listener.join()


_told: "SimpleQueue[Any] | None" = None
"""In a worker: where its progress goes."""


def _begin(told: "SimpleQueue[Any]") -> None:
    global _told  # noqa: PLW0603 - a worker has one, given to it once at its start
    _told = told


def _run(scenario: Scenario, policy: PolicyChoice, end_s: float) -> Outcome:
    told = _told
    assert told is not None, "the pool gives it to every worker"
    return run_policy(scenario, policy, tell=_teller(policy.label, end_s, lambda name, share: told.put((name, share))))


def _teller(name: str, end_s: float, on_progress: OnProgress) -> Callable[[float], None]:
    last = 0.0

    def tell(now_s: float) -> None:
        nonlocal last
        share = min(1.0, now_s / end_s)
        if share - last >= 1.0 / STEPS or (share >= 1.0 > last):
            last = share
            on_progress(name, share)

    return tell


def _listen(told: "SimpleQueue[Any]", on_progress: OnProgress) -> None:
    while (word := told.get()) is not None:
        on_progress(*word)
