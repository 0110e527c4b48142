"""Several policies on one scenario, side by side, each in a process of its own."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from typing import Any

from sizewise.core.policies.registry import POLICIES
from sizewise.protocols.errors import UnavailableError, UsageError
from sizewise.simulation.bounding import bounds_of, put_beside
from sizewise.simulation.calibrating import incumbent_for, joint_for
from sizewise.simulation.parsing import OWN
from sizewise.simulation.running import Outcome, models_of, run_policy, setups_of, workload_of
from sizewise.simulation.scenario import PolicyChoice, Scenario

OnProgress = Callable[[str, float], None]
"""(policy, share of its time that has passed)."""
STEPS = 200
"""Progress is told so often at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What each policy did, and how much there was to do."""

    scenario: Scenario
    end_s: float
    models: int
    outcomes: tuple[Outcome, ...]


def compare(
    scenario: Scenario, policies: Sequence[PolicyChoice] | None = None, *, on_progress: OnProgress = lambda _n, _s: None
) -> Compared:
    """Every policy on the same arrivals. Raises SizewiseError for whatever is wrong, before anything runs."""
    chosen = tuple(policies if policies is not None else scenario.policies)
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
    outcomes: tuple[Outcome, ...]
    if len(chosen) == 1:
        (policy,) = chosen
        outcomes = (run_policy(scenario, policy, tell=_teller(policy.label, workload.end_s, on_progress)),)
    else:
        outcomes = _side_by_side(scenario, chosen, end_s=workload.end_s, on_progress=on_progress)
    bounds = bounds_of(scenario, workload, models=models, setups=setups_of(scenario, workload.names, models))
    if bounds is not None:
        for outcome in outcomes:
            put_beside(outcome, bounds, usd_per_h=scenario.capacity.replica_usd_per_h)
    return Compared(scenario=scenario, end_s=workload.end_s, models=len(models), outcomes=outcomes)


def _side_by_side(
    scenario: Scenario, policies: Sequence[PolicyChoice], *, end_s: float, on_progress: OnProgress
) -> tuple[Outcome, ...]:
    # A fresh interpreter: forking one that may have threads is not safe
    context = multiprocessing.get_context("spawn")
    told = context.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(told, on_progress), daemon=True)
    listener.start()
    workers = min(len(policies), os.cpu_count() or 1)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(told,))
    try:
        running = [pool.submit(_run, scenario, policy, end_s) for policy in policies]
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
