"""A fixed number of replicas: the bound that everything adaptive has to beat."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from sizewise.core.policies.base import Observation, Step, require
from sizewise.core.reasons import because


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticConfig:
    """How many, whatever happens."""

    replicas: int = 1
    """Replicas at all times. 1: what a deployment has that nobody scaled."""

    def __post_init__(self) -> None:
        require(self, least=0, replicas=self.replicas)


def static_start(config: StaticConfig, observation: Observation) -> None:
    """There is nothing to remember."""


def static_step(config: StaticConfig, observation: Observation, state: None) -> Step[None]:  # noqa: ARG001
    """Always the same number."""
    return Step(config.replicas, None, because("fixed", replicas=config.replicas))


def peak_replicas(concurrency: Iterable[float], per_replica: float) -> int:
    """Replicas that the largest of these concurrencies needs, at least 1: what is bought once for the worst moment.

    Raises ValueError unless ``per_replica``, the concurrency that one replica sustains, is above 0.
    """
    if per_replica <= 0:
        raise ValueError(f"per_replica is {per_replica}: must be above 0")
    return max(1, ceil(max(concurrency, default=0.0) / per_replica))


def static_interval_s(config: StaticConfig, state: None) -> float:  # noqa: ARG001 - every interval has this form
    """Seldom: there is nothing to decide."""
    return 60.0
