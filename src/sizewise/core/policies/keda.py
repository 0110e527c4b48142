"""KEDA: an operator that switches between none and some, over an HPA that does the rest.

Source: kedacore/keda 8b4f083, pkg/scaling/executor and pkg/scalers/cron_scaler.go. The cooldown does not ask whether
the workload ever became ready: an empty queue while a model loads removes the replica that loads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from sizewise.core.policies.base import Observation, Step, read, require, require_bounds
from sizewise.core.policies.hpa import HpaState, hpa_decide, hpa_start
from sizewise.core.policies.hpa_config import HpaConfig, HpaKind, HpaMetric
from sizewise.core.reasons import because

HOUR_S = 3600.0
WEEK_S = 168 * HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A trigger that asks for ``replicas`` between two moments of every ``every_s`` seconds, and for one otherwise."""

    start_s: float
    end_s: float
    replicas: int
    every_s: float = WEEK_S

    def __post_init__(self) -> None:
        require(self, least=0, most=self.every_s, start_s=self.start_s, end_s=self.end_s)
        require(self, least=1, replicas=self.replicas)

    def active(self, now_s: float) -> bool:
        """Whether ``now_s``, in seconds since any start of the period, is within it."""
        return self.start_s <= now_s % self.every_s < self.end_s


def weekly(peaks: Sequence[float], per_replica: float) -> tuple[Cron, ...]:
    """Triggers for the hours of a week from the hourly peaks of the last one."""
    return recurring(peaks, per_replica, every_s=WEEK_S)


def recurring(peaks: Sequence[float], per_replica: float, *, every_s: float) -> tuple[Cron, ...]:
    """Triggers for the hours of a week or a day from hourly peaks, as a careful operator would write them.

    ``peaks`` and ``per_replica`` are in the same unit. Hours in a row with equal needs share a trigger.
    """
    needs = [ceil(peak / per_replica) for peak in peaks]
    triggers: list[Cron] = []
    for hour, need in enumerate(needs):
        end_s = (hour + 1) * HOUR_S
        if need and triggers and triggers[-1].end_s == hour * HOUR_S and triggers[-1].replicas == need:
            triggers[-1] = replace(triggers[-1], end_s=end_s)
        elif need:
            triggers.append(Cron(start_s=hour * HOUR_S, end_s=end_s, replicas=need, every_s=every_s))
    return tuple(triggers)


@dataclass(frozen=True, slots=True, kw_only=True)
class KedaConfig:
    """One ScaledObject."""

    metrics: tuple[HpaMetric, ...] = (HpaMetric(kind=HpaKind.EXTERNAL_AVERAGE, target=5.0),)
    """Triggers, each with its target. The target must be set; 5 is that of the documented queue examples."""
    crons: tuple[Cron, ...] = ()
    """Cron triggers beside the metrics; empty: none."""
    activation: float = 0.0
    """A trigger is active strictly above this."""
    min_replicas: int = 0
    """Fewest replicas; above 0 it never goes to zero."""
    max_replicas: int = 100
    """Most replicas."""
    polling_s: float = 30.0
    """How often the operator looks whether anything is active."""
    cooldown_s: float = 300.0
    """After the last activity, before it goes to zero."""
    initial_cooldown_s: float = 0.0
    """After creation, before it goes to zero without any activity."""
    hpa: HpaConfig = field(default_factory=HpaConfig)
    """The generated HPA; its metrics and bounds come from above."""

    def __post_init__(self) -> None:
        require_bounds(self, self.min_replicas, self.max_replicas)
        require(self, least=1, max_replicas=self.max_replicas)
        require(self, least=0, cooldown_s=self.cooldown_s, initial_cooldown_s=self.initial_cooldown_s)
        require(self, least=1, polling_s=self.polling_s)


@dataclass(frozen=True, slots=True)
class KedaState:
    """What the operator and its HPA remember."""

    hpa: HpaState
    created_s: float
    polled_s: float | None = None
    active_s: float | None = None
    """When a trigger was last seen active; None: never."""


def keda_start(config: KedaConfig, observation: Observation) -> KedaState:
    """A ScaledObject created now."""
    return KedaState(hpa_start(config.hpa, observation), created_s=observation.now_s)


def keda_interval_s(config: KedaConfig, state: KedaState) -> float:  # noqa: ARG001 - every interval has this form
    """Whichever of HPA and operator looks more often."""
    return min(config.hpa.interval_s, config.polling_s)


def keda_step(config: KedaConfig, observation: Observation, state: KedaState) -> Step[KedaState]:
    """The operator when its polling is due, else the HPA. At zero the HPA is off."""
    if state.polled_s is None or observation.now_s - state.polled_s >= config.polling_s:
        polled = _poll(config, observation, replace(state, polled_s=observation.now_s))
        if polled.desired != observation.spec:
            return polled
        state = polled.state
    hpa = replace(
        config.hpa,
        metrics=config.metrics,
        min_replicas=max(1, config.min_replicas),
        max_replicas=config.max_replicas,
    )
    proposals = tuple(cron.replicas if cron.active(observation.now_s) else 1 for cron in config.crons)
    step = hpa_decide(hpa, observation, state.hpa, proposals=proposals)
    return Step(step.desired, replace(state, hpa=step.state), step.reason)


def _poll(config: KedaConfig, observation: Observation, state: KedaState) -> Step[KedaState]:
    now_s, spec = observation.now_s, observation.spec
    active = any((read(observation, metric.signal) or 0.0) > config.activation for metric in config.metrics)
    active = active or any(cron.active(now_s) for cron in config.crons)
    if active:
        state = replace(state, active_s=now_s)
        if spec == 0:
            return Step(max(1, config.min_replicas), state, because("keda_activated"))
    elif spec > 0 and config.min_replicas == 0:
        since_s, wait_s = state.active_s, config.cooldown_s
        if since_s is None:
            since_s, wait_s = state.created_s, config.initial_cooldown_s
        if since_s + wait_s < now_s:
            return Step(0, state, because("keda_cooled_down", idle_s=now_s - since_s))
    return Step(max(spec, config.min_replicas), state, because("keda_min", replicas=config.min_replicas))
