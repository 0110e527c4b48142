"""Arrivals that are made up: one kind of traffic each, with defaults fitted to public traces.

- ``gamma`` and ``weibull`` cv 1.4: gaps of the three ServeGen workloads (Xiang et al. 2025) have 1.27, 1.42 and 1.48;
  which of the two fits better differs among them.
- ``diurnal`` peak 1.7 over the daily mean and weekend 0.55: NASA-HTTP of July 1995 has 1.68 and 0.51 to 0.56, the
  busiest function of the Azure Functions trace (Shahrad et al. 2020) 1.65 and 0.61.
- ``flash`` peak 8.6: the largest minute of NASA-HTTP over its mean.
- ``mmpp`` 670 s busy and 118 s quiet: function 38589360 of the same Azure trace.
- ``zipf`` exponent 2.4, 2760 s on and 41 000 s off: requests by rank and uses of a model in GenTD26 (Lin et al. 2025).

Letters at the end of names: ``M`` models, ``B`` buckets of time.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sizewise.simulation.scenario import Generator
from sizewise.simulation.workload import Chance, RateWorkload, Workload

DAY_S = 86400.0
FITTED: dict[str, dict[str, float]] = {
    "poisson": {},
    "gamma": {"cv": 1.4},
    "weibull": {"cv": 1.4},
    "diurnal": {"peak": 1.7, "weekend": 0.55},
    "flash": {"peak": 8.6, "lasts_s": 1800.0},
    "mmpp": {"peak": 8.7, "on_s": 670.0, "off_s": 118.0},
    "zipf": {"exponent": 2.4, "on_s": 2760.0, "off_s": 41_000.0},
}
KINDS = tuple(FITTED)


def fitted(kind: str) -> Generator:
    """A kind of arrivals at its defaults, for a day."""
    return replace(Generator(kind=kind, duration_s=DAY_S), **FITTED[kind])  # type: ignore[arg-type]  # all are floats


def generate(wanted: Generator, *, seed: int) -> Workload:
    """Rates are means: the same seed gives the same requests."""
    rng = np.random.default_rng((seed, 11))
    bucket_s = min(10.0 if wanted.kind in {"mmpp", "flash"} else 60.0, wanted.duration_s)
    middles_B = np.asarray((np.arange(max(1, math.ceil(wanted.duration_s / bucket_s))) + 0.5) * bucket_s, np.float64)
    weights_M = np.full(wanted.models, wanted.rate_per_s)
    if wanted.kind == "zipf":
        ranks_M = np.arange(1, wanted.models + 1) ** -wanted.exponent
        weights_M = wanted.rate_per_s * ranks_M / ranks_M.sum()
    shapes_MB = np.ones((wanted.models, len(middles_B)), dtype=np.float32)
    if wanted.kind == "diurnal":
        shapes_MB *= _day(wanted, middles_B)
    elif wanted.kind == "flash":
        shapes_MB *= _crowd(wanted, middles_B)
    elif wanted.kind == "mmpp":
        for row in shapes_MB:
            busy = _on(wanted, middles_B, rng)
            share = wanted.on_s / (wanted.on_s + wanted.off_s)
            low = 1.0 / (share * wanted.peak + 1.0 - share)
            row[:] = np.where(busy, wanted.peak * low, low)
    elif wanted.kind == "zipf":
        for row in shapes_MB:
            row[:] = np.where(_on(wanted, middles_B, rng), (wanted.on_s + wanted.off_s) / wanted.on_s, 0.0)
    counts_MB = shapes_MB * (weights_M * bucket_s)[:, None].astype(np.float32)
    chance = Chance(cv=wanted.cv, gaps="weibull" if wanted.kind == "weibull" else "gamma")
    width = len(str(wanted.models - 1))
    names = [f"model-{i:0{width}d}" for i in range(wanted.models)]
    return RateWorkload(names, counts_MB, bucket_s=bucket_s, seed=seed, chance=chance)


def _day(wanted: Generator, at_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """A wave of a day whose crest is ``peak`` times its mean; days 6 and 7 of each week are lower."""
    # exp(a cos) has mean I0(a): sharper crests for larger peaks, and never below zero
    sharp = _sharpness(wanted.peak)
    wave = np.exp(sharp * np.cos(2 * np.pi * (at_s / DAY_S - 0.6))) / np.i0(sharp)
    return np.where(at_s // DAY_S % 7 >= 5, wanted.weekend, 1.0) * wave


def _sharpness(peak: float) -> float:
    low, high = 0.0, 500.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.exp(middle) / np.i0(middle) < peak else (low, middle)
    return low


def _crowd(wanted: Generator, at_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """A rise within a minute, a plateau, and a decay with a quarter of its length as half-life."""
    since_s = at_s - wanted.at_s
    rise = np.clip(since_s / 60.0, 0.0, 1.0)
    decay = 0.5 ** np.maximum(0.0, (since_s - wanted.lasts_s) / (wanted.lasts_s / 4))
    return 1.0 + (wanted.peak - 1.0) * rise * decay


def _on(wanted: Generator, at_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Whether it is on, for exponential stretches of on and off, begun in the long-run share."""
    on = bool(rng.random() < wanted.on_s / (wanted.on_s + wanted.off_s))
    changes, now_s = [], 0.0
    first = on
    while now_s < at_s[-1]:
        now_s += rng.exponential(wanted.on_s if on else wanted.off_s)
        changes.append(now_s)
        on = not on
    flips = np.searchsorted(np.array(changes), at_s)
    even: NDArray[np.bool_] = flips % 2 == 0
    return even if first else ~even
