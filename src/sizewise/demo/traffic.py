"""Two minutes that look like a day: a swing, bursts, a popular small model, a large one that is rarely asked.

Rates are functions of the share of the run that has passed, so a shorter run has the same shape.
"""

import math
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

Rate = Callable[[float], float]
"""Requests per second at a share (0 to 1) of the run."""


@dataclass(frozen=True, slots=True)
class Arrival:
    at_s: float
    model: str


def swing(low: float, high: float) -> Rate:
    """A day: lowest at the start and the end, highest in the middle."""
    return lambda share: low + (high - low) * (0.5 - 0.5 * math.cos(2 * math.pi * share))


def during(rate: float, *spans: tuple[float, float]) -> Rate:
    """``rate`` inside the spans, nothing outside."""
    return lambda share: rate if any(start <= share < end for start, end in spans) else 0.0


def plus(*rates: Rate) -> Rate:
    return lambda share: sum(rate(share) for rate in rates)


RATES: dict[str, Rate] = {
    "digits": plus(swing(5, 25), during(90, (0.45, 0.55))),
    "iris": swing(1, 5),
    "encoder": swing(2, 10),
    "wine": during(40, (0.28, 0.40)),
    "progression": during(25, (0.52, 0.62)),
    "cancer": during(30, (0.18, 0.26), (0.60, 0.66)),
    "cellar": during(2, (0.05, 0.30)),
    "diabetes": during(3, (0.10, 0.55)),
    "outliers": during(5, (0.35, 0.60)),
    "tagger": during(4, (0.14, 0.28)),
    "ranker": during(4, (0.42, 0.56)),
    "vision": during(4, (0.68, 0.80)),
    "lookup": plus(during(2, (0.16, 0.50)), during(22, (0.22, 0.34))),
    "legacy": during(3, (0.12, 0.45)),
}
ATLAS_AT = (0.06, 0.07, 0.33, 0.34, 0.60, 0.61, 0.93)
"""The large model is asked by a few people at a few moments."""


def arrivals(seconds: float, seed: int, names: Collection[str]) -> list[Arrival]:
    """Every request for these models in order of time; Poisson arrivals at the rates above, drawn from ``seed``."""
    drawn = [Arrival(share * seconds, "atlas") for share in ATLAS_AT if "atlas" in names]
    for model, rate in RATES.items():
        if model not in names:
            continue
        rng = random.Random(f"{seed}:{model}")  # noqa: S311 - traffic, not secrets
        peak = max(rate(i / 1000) for i in range(1000))
        at_s = 0.0
        # Thinning (Lewis and Shedler 1979): draw at the peak rate, keep each with probability rate / peak.
        while (at_s := at_s + rng.expovariate(peak)) < seconds:
            if rng.random() * peak < rate(at_s / seconds):
                drawn.append(Arrival(at_s, model))
    return sorted(drawn, key=lambda arrival: arrival.at_s)
