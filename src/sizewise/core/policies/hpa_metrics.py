"""How the Kubernetes HPA turns one metric into replicas.

Source: kubernetes/kubernetes, pkg/controller/podautoscaler/replica_calculator.go (1.33).
"""

import math
from dataclasses import dataclass

from sizewise.core.policies.base import Observation, ReplicaSample, read
from sizewise.core.policies.hpa_config import HpaConfig, HpaKind, HpaMetric


@dataclass(frozen=True, slots=True)
class Sorted:
    """Replicas as the calculation sees them: usages of those that count, and how many others there are."""

    usages: tuple[float, ...]
    missing: int
    unready: int


def proposal(config: HpaConfig, metric: HpaMetric, observation: Observation) -> int | None:
    """Replicas that this metric asks for; None when it cannot be computed."""
    if metric.kind in {HpaKind.CPU, HpaKind.REPLICA_AVERAGE}:
        return _from_replicas(config, metric, observation)
    usage = read(observation, metric.signal)
    if usage is None:
        return None
    cur = observation.spec
    if metric.kind is HpaKind.EXTERNAL_VALUE:
        ratio = usage / metric.target
        if cur == 0:
            return math.ceil(ratio)
        return cur if within(config, ratio) else math.ceil(ratio * observation.ready)
    if observation.live > 0 and within(config, usage / (metric.target * observation.live)):
        return cur
    return math.ceil(usage / metric.target)


def within(config: HpaConfig, ratio: float) -> bool:
    """Whether a ratio is close enough to 1 to be left alone; both edges are."""
    return 1.0 - config.tolerance_down <= ratio <= 1.0 + config.tolerance_up


def classify(config: HpaConfig, metric: HpaMetric, observation: Observation) -> Sorted:
    """Who counts. Readiness matters for CPU only: a loading replica that exports another metric counts in full."""
    usages: list[float] = []
    missing = unready = 0
    for replica in observation.replicas:
        cpu = metric.kind is HpaKind.CPU
        usage = replica.busy_cores if cpu else replica.concurrency
        if replica.leaving:
            continue
        if replica.pending:
            unready += 1
        elif usage is None:
            missing += 1
        elif cpu and _not_yet(config, replica, observation.now_s):
            unready += 1
        else:
            usages.append(usage)
    return Sorted(tuple(usages), missing, unready)


def _not_yet(config: HpaConfig, replica: ReplicaSample, now_s: float) -> bool:
    if replica.started_at_s is None:
        return True
    if now_s < replica.started_at_s + config.cpu_initialization_s:
        sampled_s = min(replica.sampled_at_s, now_s)
        return not replica.ready or sampled_s < replica.ready_changed_at_s + config.sample_window_s
    return not replica.ready and replica.started_at_s + config.initial_readiness_s > replica.ready_changed_at_s


def _from_replicas(config: HpaConfig, metric: HpaMetric, observation: Observation) -> int | None:
    seen = classify(config, metric, observation)
    if not seen.usages:
        return None
    cur = observation.spec
    ratio = _ratio(config, metric, seen.usages)
    with_unready = seen.unready > 0 and ratio > 1
    if not with_unready and not seen.missing:
        return cur if within(config, ratio) else math.ceil(ratio * len(seen.usages))
    # Nobody knows what the others do: assume what makes the change smaller
    assumed = _busiest(config, metric) if ratio < 1 else 0.0
    usages = seen.usages + (assumed,) * seen.missing + (0.0,) * (seen.unready if with_unready else 0)
    careful = _ratio(config, metric, usages)
    if within(config, careful) or (ratio < 1 < careful) or (careful < 1 < ratio):
        return cur
    wanted = math.ceil(careful * len(usages))
    turned = (careful < 1 and wanted > cur) or (careful > 1 and wanted < cur)
    return cur if turned else wanted


def _ratio(config: HpaConfig, metric: HpaMetric, usages: tuple[float, ...]) -> float:
    """Usage over target, through the whole percent and the milli-units that the API counts in."""
    milli = sum(round(1000 * usage) for usage in usages)
    if metric.kind is HpaKind.CPU:
        requested = round(1000 * config.request_cores) * len(usages)
        return (100 * milli // requested) / round(100 * metric.target)
    return (milli // len(usages)) / (1000 * metric.target)


def _busiest(config: HpaConfig, metric: HpaMetric) -> float:
    """What a replica without samples is taken to use when the others would have some removed."""
    return max(1.0, metric.target) * config.request_cores if metric.kind is HpaKind.CPU else metric.target
