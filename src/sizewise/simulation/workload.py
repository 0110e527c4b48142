"""Arrivals of every model in blocks of time, the same for every policy that is compared.

Draws are keyed by seed and block, so a block can be made again without those before it. Letters at the end of names:
``M`` models, ``B`` buckets of time.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Gaps = Literal["gamma", "weibull"]

BLOCK_REQUESTS = 2_000_000
"""Requests that are drawn at once, about: memory stays small for any length of trace."""


@dataclass(frozen=True, slots=True)
class Block:
    """Arrivals up to ``end_s``; those of model ``m`` are ``times_s[offsets[m] : offsets[m + 1]]``, sorted."""

    end_s: float
    times_s: Floats
    offsets: Ints


class Workload(Protocol):
    @property
    def names(self) -> Sequence[str]: ...

    @property
    def end_s(self) -> float: ...

    @property
    def expected(self) -> float:
        """Requests in all, about."""
        ...

    @property
    def blocks(self) -> int: ...

    def block(self, index: int) -> Block: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """How counts become requests."""

    exact: bool = False
    """The counts are what was seen, and only ``scale`` makes chance of them. Otherwise they are means."""
    scale: float = 1.0
    cv: float = 1.0
    """Of the gaps, where counts are means: 1 is Poisson."""
    gaps: Gaps = "gamma"
    """How other gaps than Poisson's are spread."""


class RateWorkload:
    """From requests by model and bucket, spread over the bucket.

    Other gaps than Poisson's are Gamma or Weibull gaps in the time that the rate stretches and squeezes.
    """

    def __init__(
        self,
        names: Sequence[str],
        counts_MB: NDArray[np.floating],
        *,
        bucket_s: float,
        seed: int,
        chance: Chance,
    ) -> None:
        self.names = tuple(names)
        self.bucket_s = bucket_s
        self.end_s = counts_MB.shape[1] * bucket_s
        self._counts_MB = counts_MB
        self._exact, self._scale, self._cv, self._seed = chance.exact, chance.scale, chance.cv, seed
        self._gaps = chance.gaps
        busiest = max(float(counts_MB.sum(axis=0).max(initial=0.0)) * chance.scale, 1e-9)
        wanted = max(1, int(BLOCK_REQUESTS / busiest))
        self._per_block: int = max(1, min(wanted, counts_MB.shape[1]))

    @property
    def blocks(self) -> int:
        buckets: int = self._counts_MB.shape[1]
        return -(-buckets // self._per_block)

    @property
    def expected(self) -> float:
        return float(self._counts_MB.sum()) * self._scale

    def rates_MB(self) -> Floats:
        """Requests per second by model and bucket, as far as they can be known beforehand."""
        return np.asarray(self._counts_MB * (self._scale / self.bucket_s), dtype=np.float64)

    def block(self, index: int) -> Block:
        rng = np.random.default_rng((self._seed, index))
        first = index * self._per_block
        part_MB = self._counts_MB[:, first : first + self._per_block]
        begin_s, end_s = first * self.bucket_s, min(self.end_s, (first + self._per_block) * self.bucket_s)
        if self._cv != 1.0 and not self._exact:
            times = [self._renewals(row, rng) + begin_s for row in part_MB]
            lengths = [len(each) for each in times]
            return Block(end_s, np.concatenate(times), np.concatenate(([0], np.cumsum(lengths))).astype(np.int64))
        drawn_MB = self._drawn(part_MB, rng)
        models, buckets = np.nonzero(drawn_MB)
        repeats = drawn_MB[models, buckets]
        span_s = end_s - begin_s
        base = np.repeat(models * span_s + buckets * self.bucket_s, repeats)
        # One sort of one array: the model is the coarse part of the key
        keys = np.sort(base + rng.random(len(base)) * self.bucket_s)
        per_model = drawn_MB.sum(axis=1)
        offsets = np.concatenate(([0], np.cumsum(per_model))).astype(np.int64)
        times_s = keys - np.repeat(np.arange(len(self.names)) * span_s, per_model) + begin_s
        return Block(end_s, np.clip(times_s, begin_s, np.nextafter(end_s, begin_s)), offsets)

    def _drawn(self, part_MB: NDArray[np.floating], rng: np.random.Generator) -> Ints:
        if not self._exact:
            return rng.poisson(part_MB * self._scale)
        scaled_MB = part_MB * self._scale
        whole_MB = np.floor(scaled_MB)
        return np.asarray(whole_MB + (rng.random(part_MB.shape) < scaled_MB - whole_MB), dtype=np.int64)

    def _renewals(self, row_B: NDArray[np.floating], rng: np.random.Generator) -> Floats:
        """Gaps with mean 1, mapped through the inverse of the summed rate."""
        summed = np.concatenate(([0.0], np.cumsum(row_B * self._scale)))
        total = summed[-1]
        if total <= 0:
            return np.empty(0)
        draw = _gamma(self._cv, rng) if self._gaps == "gamma" else _weibull(self._cv, rng)
        passed, gaps = 0.0, []
        while passed < total:
            more = draw(int((total - passed) * 1.2) + 16)
            gaps.append(more)
            passed += float(more.sum())
        at = np.cumsum(np.concatenate(gaps))
        at = at[at < total]
        return np.asarray(np.interp(at, summed, np.arange(len(summed)) * self.bucket_s), dtype=np.float64)


def _gamma(cv: float, rng: np.random.Generator) -> Callable[[int], Floats]:
    shape = 1.0 / max(cv * cv, 1e-6)
    return lambda count: rng.gamma(shape, 1.0 / shape, size=count)


def _weibull(cv: float, rng: np.random.Generator) -> Callable[[int], Floats]:
    """The shape whose variation is ``cv``, found by halving: it falls as the shape grows."""
    low, high = 0.1, 1000.0
    for _ in range(80):
        shape = math.sqrt(low * high)
        low, high = (shape, high) if weibull_cv(shape) > cv else (low, shape)
    mean = math.gamma(1.0 + 1.0 / low)
    return lambda count: rng.weibull(low, size=count) / mean


def weibull_cv(shape: float) -> float:
    """Standard deviation over mean.

    >>> round(weibull_cv(1.0), 9)
    1.0
    """
    first, second = math.lgamma(1.0 + 1.0 / shape), math.lgamma(1.0 + 2.0 / shape)
    return math.sqrt(max(0.0, math.expm1(second - 2.0 * first)))


class RequestWorkload:
    """From requests at their own times, all in memory."""

    def __init__(self, names: Sequence[str], times_M: Sequence[Floats], *, end_s: float) -> None:
        self.names = tuple(names)
        self.end_s = end_s
        self._times_M = tuple(times_M)

    @property
    def expected(self) -> float:
        return float(sum(len(each) for each in self._times_M))

    @property
    def blocks(self) -> int:
        return 1

    def block(self, index: int) -> Block:
        assert index == 0, "one block holds them all"
        lengths = [len(each) for each in self._times_M]
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        return Block(self.end_s, np.concatenate(self._times_M), offsets)


def scaled_requests(times_s: Floats, scale: float, rng: np.random.Generator) -> Floats:
    """Each request kept, dropped or repeated so that ``scale`` as many remain; a repeat comes within a second."""
    if scale == 1.0:
        return times_s
    whole = int(scale)
    counts = whole + (rng.random(len(times_s)) < scale - whole)
    repeated = np.repeat(times_s, counts)
    first = np.concatenate(([True], repeated[1:] != repeated[:-1])) if len(repeated) else np.empty(0, dtype=bool)
    return np.sort(np.where(first, repeated, repeated + rng.random(len(repeated))))


def counted(workload: Workload, lengths: Sequence[float], *, from_s: float) -> list[Floats]:
    """Arrivals of each model in slots of its length."""
    span_s = workload.end_s - from_s
    counts = [np.zeros(max(1, math.ceil(span_s / length - 1e-9))) for length in lengths]
    for index in range(workload.blocks):
        block = workload.block(index)
        for model, (found, length) in enumerate(zip(counts, lengths, strict=True)):
            times_s = block.times_s[block.offsets[model] : block.offsets[model + 1]] - from_s
            slots = (times_s[times_s >= 0] / length).astype(np.int64)
            np.add.at(found, np.minimum(slots, len(found) - 1), 1)
    return counts
