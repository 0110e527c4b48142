"""One replay on the local runtime."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.fidelity.cases import Case, Subject
from benchmarks.fidelity.figures import Change, Figures, quantile_s
from benchmarks.fidelity.system import Wanted, running
from sizewise import api
from sizewise.backends.local.machine import find_machine
from sizewise.controller.spec import ModelSpec, ServingSpec, Spec
from sizewise.controller.view import Budget
from sizewise.core.profiles import ModelProfile
from sizewise.core.tensors import TensorSpec
from sizewise.core.units import GIB
from sizewise.formats import inspect
from sizewise.loadgen.bodies import bodies_of
from sizewise.loadgen.request import Target, target_of
from sizewise.loadgen.run import Load, run
from sizewise.loadgen.schedule import constant
from sizewise.loadgen.tally import Window
from sizewise.profiling.measure import Bench, measure
from sizewise.profiling.store import ProfileStore
from sizewise.profiling.timing import CurveBudget
from sizewise.protocols.artifacts import content_hash
from sizewise.server.run import ControllerSettings

CONNECTIONS = 256
TIMEOUT_S = 90.0
EMPTY_S = 60.0
DECISIONS = 1000
"""As many of a model as are kept."""
BUDGET = CurveBudget(total_s=60.0, point_s=6.0, least=30)
"""Longer than usual: five calls of a slow model tell its median within a fifth, and live figures would correct that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    figures: Figures
    overhead_bytes: int
    """What Sizewise's own processes took of the budget."""


def measured(case: Case, folder: Path, budget: CurveBudget = BUDGET) -> dict[str, ModelProfile]:
    """What the models weigh, kept in ``folder`` for the systems to come."""
    store, machine = ProfileStore(folder / "profiles"), find_machine(folder)
    bench = Bench(cpus=machine.cpus, memory_bytes=machine.memory_bytes, budget=budget)
    found = {}
    for subject in (*case.subjects, case.pilot):
        subject.write(folder / subject.file)
        facts = inspect(folder / subject.file)
        found[subject.name] = measure(facts, folder, bench, slo=subject.slo)
        store.put(content_hash(folder, facts.files), found[subject.name])
    return found


def replay(case: Case, folder: Path, seconds: float) -> Replayed:
    """The models in ``folder`` under the traffic of ``case``, on a system of their own."""
    state_dir = Path(tempfile.mkdtemp(prefix="sizewise-"))
    try:
        shutil.copytree(folder / "profiles", state_dir / "profiles")
        with running(_wanted(case, folder, state_dir)) as url, api.connect(state_dir=state_dir) as client:
            overhead_bytes = _begin(case, client, url)
            targets = {each.name: _target(url, each) for each in case.subjects}
            before, began_unix_s = client.status(), time.time()
            windows, after = asyncio.run(_load(case, client, targets, seconds=seconds))
            decisions = {each.name: client.explain(each.name, DECISIONS)["decisions"] for each in case.subjects}
    finally:
        shutil.rmtree(state_dir, ignore_errors=True)
    changes = tuple(
        (name, decision)
        for name, decided in decisions.items()
        for decision in decided
        if 0 <= decision["at_unix_s"] - began_unix_s < seconds and _scaled(decision)
    )
    figures = Figures(
        requests=sum(window.sent for window in windows.values()),
        attainment=sum(_in_time(each) for each in windows.values()) / sum(each.sent for each in windows.values()),
        by_model={name: window.attainment or 0.0 for name, window in windows.items()},
        p50_s=_quantile_s(windows, 0.5),
        p95_s=_quantile_s(windows, 0.95),
        replica_s=_replica_s(after) - _replica_s(before),
        cold_starts=sum(_from_nothing(decision) for _, decision in changes),
        changes=tuple(_change(name, decision, began_unix_s) for name, decision in changes),
    )
    return Replayed(figures=figures, overhead_bytes=overhead_bytes)


def _wanted(case: Case, folder: Path, state_dir: Path) -> Wanted:
    models = [
        ModelSpec(name=each.name, uri=str(folder / each.file), slo=each.slo, scaling=each.scaling, load_ready=False)
        for each in (*case.subjects, case.pilot)
    ]
    spec = Spec(models=tuple(models), serving=ServingSpec(port=0, admin_port=0))
    settings = ControllerSettings(state_dir=state_dir, spec=spec, serving=spec.serving, detached=True)
    budget = Budget(cpus=case.cpus, memory_bytes=case.memory_bytes, disk_bytes=10 * GIB, load_slots=case.load_slots)
    return Wanted(settings=settings, budget=budget)


def _begin(case: Case, client: api.Client, url: str) -> int:
    """Nothing runs, and all that is imported once has been; what Sizewise's own processes take."""
    one = constant(10.0, 0.5)
    asyncio.run(run(_target(url, case.pilot), Load(connections=1, seconds=one.seconds, schedule=one)))
    client.undeploy(case.pilot.name)
    ends_s = time.monotonic() + EMPTY_S
    status = client.status()
    while any(process["role"] == "replica" for process in status["processes"]):
        assert time.monotonic() < ends_s, "the pilot does not leave"
        time.sleep(0.2)
        status = client.status()
    used: int = status["machine"]["memory_used_bytes"]
    models_bytes: int = sum(model["memory_bytes"] for model in status["models"])
    return used - models_bytes


async def _load(
    case: Case, client: api.Client, targets: Mapping[str, Target], *, seconds: float
) -> tuple[dict[str, Window], Mapping[str, Any]]:
    """What each model's callers saw, and the status when the time was over."""

    async def one(subject: Subject) -> Window:
        load = Load(
            connections=CONNECTIONS,
            seconds=seconds,
            timeout_s=TIMEOUT_S,
            slo_s=subject.slo.latency_s,
            schedule=subject.schedule(seconds),
        )
        return await run(targets[subject.name], load)

    async def status() -> Mapping[str, Any]:
        await asyncio.sleep(seconds)
        return await asyncio.to_thread(client.status)

    at_the_end = asyncio.create_task(status())
    windows = await asyncio.gather(*map(one, case.subjects))
    return dict(zip((each.name for each in case.subjects), windows, strict=True)), await at_the_end


def _target(url: str, subject: Subject) -> Target:
    bodies = bodies_of([TensorSpec(name="x", datatype="FP32", shape=(1, subject.columns))])
    return target_of(f"{url}/v2/models/{subject.name}/infer", bodies)


def _in_time(window: Window) -> float:
    return (window.attainment or 0.0) * window.sent


def _quantile_s(windows: Mapping[str, Window], share: float) -> float:
    return quantile_s([pair for window in windows.values() for pair in window.latency.histogram], share)


def _replica_s(status: Mapping[str, Any]) -> float:
    return float(sum(model["replica_seconds"] for model in status["models"]))


def _scaled(decision: Mapping[str, Any]) -> bool:
    return any(effect.startswith(("start ", "stop ")) for effect in decision["effect"])


def _from_nothing(decision: Mapping[str, Any]) -> bool:
    starts = any(effect.startswith("start ") for effect in decision["effect"])
    return starts and not decision["ready"] and not decision["loading"]


def _change(model: str, decision: Mapping[str, Any], began_unix_s: float) -> Change:
    return Change(
        at_s=decision["at_unix_s"] - began_unix_s, model=model, desired=decision["desired"], why=decision["reason"]
    )
