"""Configurations of today's autoscalers: as published, with targets from a model's profile, or with what is given."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from sizewise.core.policies.base import Incumbent, JointIncumbent
from sizewise.core.policies.faro import FaroModel
from sizewise.core.policies.keda import HOUR_S, recurring
from sizewise.core.policies.registry import JOINT_POLICIES, POLICIES
from sizewise.core.sizing import UTILIZATION, capacity_of, replicas_for, sustainable_per_s
from sizewise.protocols.errors import UsageError
from sizewise.simulation.scenario import Mode, Past, PolicyChoice, Scenario, SimModel

TARGET_KEYS: Mapping[str, str] = {
    **dict.fromkeys(("hpa", "hpa_concurrency", "hpa_external", "kpa", "keda", "keda_cron"), "target"),
    **dict.fromkeys(("sagemaker", "ec2_predictive", "aibrix_apa"), "target"),
    "ray_serve": "target_ongoing_requests",
    "skyserve": "target_per_s",
    "dynamo": "engine_concurrency",
    "wva": "capacity",
}
"""What each calls the load of a replica that it aims at."""
NOT_SET = ("models", "history", "crons", "behavior")
"""Fields that are no single values."""
POOL = 4
"""Replicas of the pool that a target is calibrated for: alone, a replica sustains less; among many, a little more."""


def incumbent_for(
    policy: PolicyChoice, model: SimModel, *, past: Past | None = None, file: str = ""
) -> Incumbent[Any, Any]:
    """One autoscaler for one model. Raises UsageError for a parameter that it does not have, or out of range."""
    known = POLICIES[policy.name]
    config = known.config
    if "request_cores" in _names(config):
        config = replace(config, request_cores=float(model.profile.threads))
    if policy.mode in {Mode.CALIBRATED, Mode.TUNED}:
        config = changed(config, targets(policy.name, model), strict=False)
    if past is not None:
        config = _looked_back(config, model, past, name=policy.name)
    try:
        config = changed(config, policy.parameters, strict=True)
        config = _aimed(config, policy)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{_where(policy, file)}{policy.name}: {error}") from error
    return replace(known, config=config)


def _looked_back(config: Any, model: SimModel, past: Past, *, name: str) -> Any:
    """What a careful operator, or EC2 itself, takes from the past."""
    capacity = capacity_of(model.profile, model.slo)
    if name == "static":
        return replace(config, replicas=max(1, replicas_for(capacity, max(past.peak_per_s))))
    if name == "ec2_predictive":
        # In replicas x busy share, as it counts hours itself
        return replace(config, history=tuple(rate / capacity.per_s for rate in past.mean_per_s))
    hours, day = past.peak_per_s, 24
    season = 7 * day if len(hours) >= 7 * day else day
    # The first of the last so many hours was one season before time began
    needs = [float(replicas_for(capacity, peak)) for peak in hours[-season:]]
    return replace(config, crons=recurring(needs, 1.0, every_s=season * HOUR_S))


def _aimed(config: Any, policy: PolicyChoice) -> Any:
    key = TARGET_KEYS.get(policy.name)
    if key is None or policy.target_factor == 1.0:
        return config
    holder = next(part for part in (config, *_parts(config).values()) if key in _names(part))
    return changed(config, {key: getattr(holder, key) * policy.target_factor}, strict=True)


def joint_for(policy: PolicyChoice, models: list[SimModel], scenario: Scenario) -> JointIncumbent[Any, Any]:
    """One autoscaler for all models together; it is always told their service times and goals."""
    known = JOINT_POLICIES[policy.name]
    told = tuple(_faro_model(model) for model in models)
    most = scenario.capacity.replicas or max(len(models), known.config.most_replicas)
    slo = next((model.slo for model in models if model.slo is not None), None)
    loads_s = sorted(model.profile.load.total_s for model in models)
    config = known.config
    try:
        config = replace(config, models=told, most_replicas=most)
        if slo is not None:
            config = replace(config, quantile=min(slo.quantile, 0.9999))
        if policy.mode is not Mode.STOCK:
            # Its own 65 s are 35 s of load, as here, and what its cluster adds
            config = replace(config, cold_s=min(config.horizon_s, loads_s[len(loads_s) // 2]))
        config = changed(config, policy.parameters, strict=True)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{_where(policy, scenario.file)}{policy.name}: {error}") from error
    return replace(known, config=config)


def targets(name: str, model: SimModel) -> Mapping[str, float]:
    """What a careful user would set for this model: load at which a replica of a small pool still meets its SLO."""
    capacity = capacity_of(model.profile, model.slo)
    # Measured utilization ends at 1, and rules tolerate a tenth: a target near 1 would never scale anything out
    rate_per_s = UTILIZATION * capacity.per_s
    if model.slo:
        rate_per_s = min(rate_per_s, sustainable_per_s(capacity, POOL) / POOL)
    share = max(0.05, rate_per_s / capacity.per_s)
    concurrency = share * capacity.batch
    found: dict[str, dict[str, float]] = {
        "hpa": {"target": share},
        "hpa_concurrency": {"target": concurrency},
        "hpa_external": {"target": concurrency},
        "kpa": {"target": concurrency, "target_utilization": 1.0},
        "keda": {"target": concurrency},
        "keda_cron": {"target": concurrency},
        "ray_serve": {"target_ongoing_requests": concurrency},
        "skyserve": {"target_per_s": rate_per_s},
        "sagemaker": {"target": 60.0 * rate_per_s},
        "ec2_predictive": {"target": share},
        "aibrix_apa": {"target": concurrency},
        "dynamo": {"engine_concurrency": float(capacity.batch), "engine_per_s": rate_per_s, "most_devices": 100},
        "wva": {"capacity": float(capacity.batch)},
    }
    return found.get(name, {})


def changed(config: Any, values: Mapping[str, float | int | str], *, strict: bool) -> Any:
    """The configuration with these fields; one that it does not have itself belongs to a part of it: its first metric,
    its tracking, the HPA below it. Raises ValueError naming those that exist."""
    for key, value in values.items():
        parts = _parts(config)
        holder = next((name for name, part in parts.items() if key in _names(part)), None)
        if key in _names(config) and key not in parts and key not in NOT_SET:
            config = replace(config, **{key: _like(getattr(config, key), value, key)})
        elif holder is not None and key not in NOT_SET:
            part = replace(parts[holder], **{key: _like(getattr(parts[holder], key), value, key)})
            config = replace(config, **{holder: (part,) if holder == "metrics" else part})
        elif strict:
            own = {*_names(config), *(name for part in parts.values() for name in _names(part))}
            known = ", ".join(sorted(own - {*parts, *NOT_SET}))
            raise ValueError(f"has no parameter {key!r}: it has {known}")
    return config


def _parts(config: Any) -> dict[str, Any]:
    """Configurations inside this one, by the field that holds them."""
    found = {name: getattr(config, name) for name in ("metrics", "tracking", "hpa") if hasattr(config, name)}
    return {name: part[0] if name == "metrics" else part for name, part in found.items()}


def _names(config: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(config)) if is_dataclass(config) else ()


def _like(old: Any, value: float | int | str, key: str) -> Any:
    """The value in the type that the field has."""
    if isinstance(old, bool) or value in {"true", "false"}:
        return value in {"true", True}
    if value in {"none", "null"}:
        return None
    if isinstance(old, int) and not isinstance(value, str):
        if value != int(value):
            raise ValueError(f"{key} is {value}: give a whole number")
        return int(value)
    if isinstance(old, str) or isinstance(value, str):
        kind = type(old)
        return kind(value)
    return value


def _faro_model(model: SimModel) -> FaroModel:
    from sizewise.simulation.modelling import mean_over_median

    service_s = model.profile.curve.p50_s(1) * mean_over_median(model.shape, model.cv)
    return FaroModel(service_s=service_s, slo_s=model.slo.latency_s if model.slo else 4 * service_s)


def _where(policy: PolicyChoice, file: str) -> str:
    return f"{file}:{policy.line}: " if policy.line else ""
