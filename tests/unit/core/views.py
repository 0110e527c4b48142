"""Views for tables of decisions: one line each."""

from typing import Any

from sizewise.core.fleet import (
    Demand,
    FleetView,
    MachineView,
    ModelDecision,
    ModelView,
    ReplicaState,
    ReplicaView,
    ScalingPolicy,
)
from sizewise.core.slo import Slo
from tests.unit.core.fleet_sim import machine, profile

NOW_S = 1000.0


def replica(
    replica_id: str, state: ReplicaState = ReplicaState.READY, *, version: str = "v1", **rest: Any
) -> ReplicaView:
    """A replica that has been there for a long time."""
    return ReplicaView(
        replica_id=replica_id, version=version, state=state, **{"since_s": 100.0, "ready_at_s": 100.0, **rest}
    )


def asked(rate: float = 0.0, **rest: Any) -> Demand:
    """A steady demand, read just now; idle for long where the rate is zero."""
    figures: dict[str, Any] = {
        "observed_at_s": NOW_S,
        "burst_per_s": rate,
        "stable_per_s": rate,
        "idle_s": 0.1 if rate else 500.0,
        "gap_s": 1 / rate if rate else 60.0,
        "envelope": ((1.0, rate), (2.0, 2 * rate)) if rate else (),
    }
    return Demand(**{**figures, **rest})


def model(name: str, demand: Demand | None = None, **rest: Any) -> ModelView:
    """A model with ``peaks`` known, so that no hold of an unknown past stands in the way."""
    policy = {key: rest.pop(key) for key in ("min_replicas", "max_replicas", "priority") if key in rest}
    figures: dict[str, Any] = {
        "version": "v1",
        "profile": profile(),
        "slo": Slo(0.95, 0.1),
        "policy": ScalingPolicy(**policy),
        "demand": demand or asked(),
        "state": {"peaks": []},
    }
    return ModelView(name=name, **{**figures, **rest})


def view(*models: ModelView, on: MachineView | None = None, now_s: float = NOW_S) -> FleetView:
    return FleetView(now_s=now_s, machine=on or machine(), models=models)


def of(decisions: tuple[ModelDecision, ...], name: str) -> ModelDecision:
    return next(d for d in decisions if d.name == name)
