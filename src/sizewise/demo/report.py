"""What the run showed, as figures: the same in ``report.json`` and on the screen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sizewise.demo.models import DemoModel

if TYPE_CHECKING:
    from sizewise.demo.run import Run

SHED_STATUSES = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """One model. Byte-seconds are GiB-free: bytes times seconds."""

    name: str
    what: str
    weights_bytes: int
    load_s: float
    slo_p95_s: float
    requests: int
    answered: int
    shed: int
    """Refused at once with 429 or 503, because they would have been late."""
    failed: int
    in_slo: int
    slo_attainment: float | None
    p50_s: float | None
    p95_s: float | None
    cold_starts: int
    replica_seconds: float
    memory_byte_seconds: float
    peak_replicas: int
    always_on_replica_seconds: float
    """Computed: one replica for the whole run."""
    always_on_memory_byte_seconds: float
    """Computed from the measured profile: that replica's memory for the whole run."""
    profile_measured: bool
    """False: it was not measured beforehand, and the line above is what decisions expected of it at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    seconds: float
    """Of traffic."""
    lasted_s: float
    """Until its last answer had been counted: what the rest is over."""
    seed: int
    requests: int
    answered: int
    shed: int
    failed: int
    slo_attainment: float
    cold_starts: int
    replica_seconds: float
    memory_byte_seconds: float
    always_on_replica_seconds: float
    always_on_memory_byte_seconds: float
    memory_budget_bytes: int
    models_sum_bytes: int
    """Computed from the measured profiles: one replica of each model at once."""
    models: tuple[ModelReport, ...]


def quantile(sorted_values: Sequence[float], q: float) -> float | None:
    """Nearest rank; None of nothing."""
    if not sorted_values:
        return None
    return sorted_values[min(len(sorted_values) - 1, int(q * len(sorted_values)))]


def make_report(run: "Run", status: Mapping[str, Any]) -> Report:
    """``status`` is the system's own account at the end: ready time, memory time and cold starts are its counts."""
    found = {row["name"]: row for row in status["models"]}
    rows = tuple(_model_report(run, model, found[model.name]) for model in run.models)
    requests = sum(row.requests for row in rows)
    return Report(
        seconds=run.seconds,
        lasted_s=run.lasted_s,
        seed=run.seed,
        requests=requests,
        answered=sum(row.answered for row in rows),
        shed=sum(row.shed for row in rows),
        failed=sum(row.failed for row in rows),
        slo_attainment=sum(row.in_slo for row in rows) / requests if requests else 1.0,
        cold_starts=sum(row.cold_starts for row in rows),
        replica_seconds=sum(row.replica_seconds for row in rows),
        memory_byte_seconds=sum(row.memory_byte_seconds for row in rows),
        always_on_replica_seconds=sum(row.always_on_replica_seconds for row in rows),
        always_on_memory_byte_seconds=sum(row.always_on_memory_byte_seconds for row in rows),
        memory_budget_bytes=status["machine"]["memory_bytes"],
        models_sum_bytes=round(sum(row.always_on_memory_byte_seconds for row in rows) / run.lasted_s),
        models=rows,
    )


def _model_report(run: "Run", model: DemoModel, status: Mapping[str, Any]) -> ModelReport:
    outcomes, profile = [o for o in run.outcomes if o.model == model.name], run.weighed.get(model.name)
    expected_bytes: int = status["replica_memory_bytes"]
    replica_bytes = profile.memory.replica_bytes + profile.memory.mapped_bytes if profile else expected_bytes
    slo_s = model.slo_p95_ms / 1000
    answered = [o for o in outcomes if o.answered]
    shed = sum(o.status in SHED_STATUSES for o in outcomes)
    in_slo = sum(o.latency_s <= slo_s for o in answered)
    latencies = sorted(o.latency_s for o in answered)
    return ModelReport(
        name=model.name,
        what=model.what,
        weights_bytes=status["weights_bytes"],
        load_s=status["load_s"],
        slo_p95_s=slo_s,
        requests=len(outcomes),
        answered=len(answered),
        shed=shed,
        failed=len(outcomes) - len(answered) - shed,
        in_slo=in_slo,
        slo_attainment=in_slo / len(outcomes) if outcomes else None,
        p50_s=quantile(latencies, 0.5),
        p95_s=quantile(latencies, 0.95),
        cold_starts=status["cold_starts_total"],
        replica_seconds=status["replica_seconds"],
        memory_byte_seconds=status["memory_byte_seconds"],
        peak_replicas=run.timeline.peak(model.name),
        always_on_replica_seconds=run.lasted_s,
        always_on_memory_byte_seconds=replica_bytes * run.lasted_s,
        profile_measured=profile is not None,
    )
