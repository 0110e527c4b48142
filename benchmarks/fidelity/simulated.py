"""The same replay in the simulator, told what was measured."""

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.fidelity.cases import Case, Subject
from benchmarks.fidelity.figures import Change, Figures
from sizewise.core.profiles import ModelProfile
from sizewise.simulation.modelling import from_profile
from sizewise.simulation.parsing import choice
from sizewise.simulation.running import run_policy
from sizewise.simulation.scenario import Capacity, MachinePool, Scenario, SimModel, TraceSource
from sizewise.simulation.spread import constant


def write_trace(case: Case, path: Path, seconds: float) -> None:
    """One row a request, at the moments at which they are due."""
    rows = sorted((due_s, each.name) for each in case.subjects for due_s in each.due_s(seconds))
    with path.open("w", newline="") as target:
        csv.writer(target).writerows([("timestamp_s", "model"), *((repr(at_s), name) for at_s, name in rows)])


def simulated(
    case: Case, profiles: Mapping[str, ModelProfile], trace: Path, *, seconds: float, overhead_bytes: int
) -> Figures:
    scenario = Scenario(
        file=case.name,
        source=TraceSource(path=trace, to_s=seconds),
        models={each.name: _model(each, profiles[each.name]) for each in case.subjects},
        capacity=Capacity(machines=(_machine(case, overhead_bytes),)),
        policies=(),
        start_replicas=0,
    )
    outcome = run_policy(scenario, choice("sizewise"))
    return Figures(
        requests=outcome.requests,
        attainment=outcome.attainment_requests,
        by_model={name: row["attainment"] for name, row in outcome.by_model.items()},
        p50_s=outcome.p50_s or 0.0,
        p95_s=outcome.p95_s or 0.0,
        replica_s=outcome.replica_seconds,
        cold_starts=outcome.cold_starts,
        changes=tuple(Change(at_s=at_s, model=m, desired=n, why=why) for at_s, m, n, why in outcome.decisions),
    )


def _model(subject: Subject, profile: ModelProfile) -> SimModel:
    return replace(from_profile(profile), slo=subject.slo, scaling=subject.scaling)


def _machine(case: Case, overhead_bytes: int) -> MachinePool:
    return MachinePool(
        name="one",
        cpus=case.cpus,
        memory_bytes=case.memory_bytes - overhead_bytes,
        least=1,
        provision=constant(0.0),
        load_slots=case.load_slots,
    )
