"""What every autoscaler is shown and what it answers, so that one simulator can run any of them per model.

A step is a function of configuration, observation and state; it reads no clock and keeps nothing. ``Incumbent`` bundles
the step of one autoscaler with its stock configuration and with how often, and when, it wants to be asked.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from sizewise.core.fleet import Reason

C = TypeVar("C")
S = TypeVar("S")


class Signal(StrEnum):
    """The figure of a model that an external metric carries."""

    CONCURRENCY = "concurrency"
    """Requests in flight: queued and executing."""
    RATE = "rate"
    """Arrivals per second."""
    QUEUED = "queued"
    """Requests that wait and are not being worked on."""
    UTILIZATION = "utilization"
    """Mean busy share of the ready replicas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSample:
    """One replica with its own metrics, for the autoscalers that look at each."""

    pending: bool = False
    """Not placed or its image not there yet: nothing runs."""
    leaving: bool = False
    """Draining or failed: no autoscaler counts it."""
    ready: bool = True
    started_at_s: float | None = 0.0
    """When its process began; None before that."""
    ready_changed_at_s: float = 0.0
    """When ``ready`` last changed."""
    busy_cores: float | None = None
    """Cores in use; None when there is no sample."""
    concurrency: float | None = None
    """Requests in flight here; None when it exports nothing, as while it loads."""
    sampled_at_s: float = math.inf
    """When the sample was taken; infinite stands for just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One model as metrics show it. Means and counts are over the ``period_s`` seconds since the last observation."""

    now_s: float
    spec: int
    """Replicas asked for."""
    ready: int
    """Replicas able to answer."""
    loading: int = 0
    """Replicas that exist and are not ready yet."""
    period_s: float = 0.0
    concurrency: float = 0.0
    """Mean requests in flight over the period: at replicas, and queued anywhere in front of them."""
    arrivals: float = 0.0
    """Requests that arrived in the period."""
    queued: float = 0.0
    """Requests that wait at this moment and are not being worked on."""
    utilization: float | None = None
    """Mean busy share of the ready replicas, 0 to 1; None when nothing is ready."""
    replicas: tuple[ReplicaSample, ...] = ()

    @property
    def live(self) -> int:
        """Replicas that exist, loading ones included."""
        return self.ready + self.loading

    @property
    def rate_per_s(self) -> float:
        """Arrivals per second over the period, 0 for an empty one."""
        return self.arrivals / self.period_s if self.period_s > 0 else 0.0


def read(observation: Observation, signal: Signal) -> float | None:
    """The figure that a metric carries; None when it is missing."""
    if signal is Signal.CONCURRENCY:
        return observation.concurrency
    if signal is Signal.RATE:
        return observation.rate_per_s
    if signal is Signal.QUEUED:
        return observation.queued
    return observation.utilization


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """Replicas wanted from now on, what to hand back at the next step, and which rule bound."""

    desired: int
    state: S
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Incumbent(Generic[C, S]):
    """One autoscaler: its rule, its stock configuration, and what a simulator must know to run it fairly."""

    name: str
    summary: str
    """One line for a person."""
    config: C
    """Stock defaults."""
    start: Callable[[C, Observation], S]
    """State of a fresh autoscaler that finds this."""
    step: Callable[[C, Observation, S], Step[S]]
    interval_s: Callable[[C, S], float]
    """Seconds until it is to be asked again. Asked more often, it still measures its windows in seconds."""
    wakes: bool = False
    """Whether the first request for a model with no replica has it asked at once."""
    parks: bool = False
    """Whether requests wait while there is no replica; otherwise they fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JointIncumbent(Generic[C, S]):
    """An autoscaler that decides for all models of a cluster at once; observations and answers share their order."""

    name: str
    summary: str
    config: C
    """Stock defaults; its models are to be filled in."""
    start: Callable[[C, Sequence[Observation]], S]
    step: Callable[[C, Sequence[Observation], S], tuple[tuple[int, ...], S, Reason]]
    interval_s: Callable[[C, S], float]
    """As for ``Incumbent``."""


def clip(value: int, low: int, high: int | None) -> int:
    """``value`` within bounds; ``high`` None is no upper bound. ``high`` wins over ``low``."""
    raised = max(value, low)
    return raised if high is None else min(raised, high)


def require(config: object, *, least: float, most: float = math.inf, **values: float | None) -> None:
    """Raises ValueError naming the key, its value and the allowed range. None means off and is always allowed."""
    for key, value in values.items():
        if value is not None and not least <= value <= most:
            raise ValueError(f"{type(config).__name__}.{key} is {value}: allowed is {least:g} to {most:g}")


def require_bounds(config: object, low: int, high: int | None) -> None:
    """Raises ValueError unless 0 <= min_replicas <= max_replicas."""
    require(config, least=0, min_replicas=low)
    require(config, least=low, max_replicas=high)
