"""When requests are due: a pure function of rate, spacing and seed, known before the first one leaves."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Spacing(StrEnum):
    poisson = "poisson"
    """Independent callers: gaps are exponential, and some requests come in bunches."""
    uniform = "uniform"
    """Equal gaps: what a queue likes best, so latency looks better than callers will find it."""


@dataclass(frozen=True, slots=True)
class Step:
    """``per_s`` requests a second from ``at_s`` on, until the next step."""

    at_s: float
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    steps: tuple[Step, ...]
    """Ascending in time; before the first there are no requests."""
    seconds: float
    """Nothing is due at or after it."""
    spacing: Spacing = Spacing.poisson
    seed: int = 7

    def mean_per_s(self) -> float:
        return sum(step.per_s * length_s for step, length_s in _spans(self.steps, self.seconds)) / self.seconds


def constant(per_s: float, seconds: float, *, spacing: Spacing = Spacing.poisson, seed: int = 7) -> Schedule:
    return Schedule(steps=(Step(0.0, per_s),), seconds=seconds, spacing=spacing, seed=seed)


def preceded(schedule: Schedule, seconds: float) -> Schedule:
    """The same after a time at its first rate."""
    later = tuple(Step(step.at_s + seconds, step.per_s) for step in schedule.steps)
    steps = (Step(0.0, later[0].per_s), *later) if seconds else later
    return replace(schedule, steps=steps, seconds=schedule.seconds + seconds)


def due_times(schedule: Schedule) -> Iterator[float]:
    """Seconds from the start at which requests are due, ascending.

    Gaps of mean one are drawn and stretched by the rate: the n-th request is due where the integral of the rate
    reaches the n-th sum of gaps. This keeps arrivals Poisson whatever the rate does.

    >>> list(due_times(constant(4, 1, spacing=Spacing.uniform)))
    [0.0, 0.25, 0.5, 0.75]
    """
    rng = random.Random(schedule.seed)  # noqa: S311 - traffic, not secrets
    draw = rng.expovariate if schedule.spacing is Spacing.poisson else None
    wanted = draw(1.0) if draw is not None else 0.0
    before = 0.0
    for step, length_s in _spans(schedule.steps, schedule.seconds):
        after = before + step.per_s * length_s
        while wanted < after:
            yield step.at_s + (wanted - before) / step.per_s
            wanted += draw(1.0) if draw is not None else 1.0
        before = after


def _spans(steps: Sequence[Step], seconds: float) -> Iterator[tuple[Step, float]]:
    """Each step with its length, cut off at ``seconds``."""
    ends = [*(step.at_s for step in steps[1:]), seconds]
    for step, end_s in zip(steps, ends, strict=True):
        length_s = min(end_s, seconds) - step.at_s
        if length_s > 0:
            yield step, length_s
