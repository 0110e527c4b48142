"""How a time varies: a constant, a named distribution, or measured quantiles; drawn by inverting its distribution."""

import math
from bisect import bisect_left
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Shape = Literal["lognormal", "exponential", "constant"]
SHAPES: tuple[Shape, ...] = ("lognormal", "exponential", "constant")

DRAWS = 1 << 16
"""Factors in a table: one for each of as many equal shares of the distribution, in shuffled order."""

_Z99 = NormalDist().inv_cdf(0.99)


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds by quantile, straight between the points and level beyond the outermost."""

    points: tuple[tuple[float, float], ...]
    """(share, seconds), both rising."""

    def at(self, share: float) -> float:
        """Seconds below which ``share`` of all lie.

        >>> Spread(((0.1, 2.0), (0.9, 4.0))).at(0.5)
        3.0
        """
        shares = [point[0] for point in self.points]
        i = bisect_left(shares, share)
        if i == 0:
            return self.points[0][1]
        if i == len(shares):
            return self.points[-1][1]
        (a, low), (b, high) = self.points[i - 1], self.points[i]
        return low + (high - low) * (share - a) / (b - a)

    @property
    def median_s(self) -> float:
        return self.at(0.5)


def constant(seconds: float) -> Spread:
    return Spread(((0.5, seconds),))


def lognormal(p50_s: float, p99_s: float) -> Spread:
    """Tabulated from the first to the 99.9th percentile: a single draw beyond would say nothing about a model."""
    sigma = math.log(max(p99_s, p50_s) / p50_s) / _Z99 if p50_s > 0 else 0.0
    shares = (0.01, 0.05, *(i / 10 for i in range(1, 10)), 0.95, 0.99, 0.999)
    return Spread(tuple((q, p50_s * math.exp(sigma * NormalDist().inv_cdf(q))) for q in shares))


def factors(shape: Shape, cv: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """``DRAWS`` factors with mean 1 and this variation; stratified, so that their mean is exact."""
    shares = (np.arange(DRAWS) + 0.5) / DRAWS
    if shape == "constant" or (shape == "lognormal" and cv <= 0):
        return np.ones(DRAWS)
    if shape == "exponential":
        drawn = -np.log1p(-shares)
    else:
        sigma = math.sqrt(math.log1p(cv * cv))
        drawn = np.exp(sigma * normal_quantiles(shares))
    drawn /= drawn.mean()
    rng.shuffle(drawn)
    return drawn


def normal_quantiles(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse of the normal distribution for an array of rising shares, exact at 257 points and straight between."""
    knots = np.concatenate(
        (np.geomspace(1e-6, 0.01, 65)[:-1], np.linspace(0.01, 0.99, 129), 1 - np.geomspace(0.01, 1e-6, 65)[1:])
    )
    exact = np.array([NormalDist().inv_cdf(float(q)) for q in knots])
    return np.asarray(np.interp(shares, knots, exact), dtype=np.float64)
