"""Latency goals."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slo:
    """The share ``quantile`` of requests is to be answered within ``latency_s`` seconds of its arrival.

    Written ``{p95_ms: 50}`` in a spec: the one place where the unit is milliseconds.
    """

    quantile: float
    latency_s: float

    @property
    def budget(self) -> float:
        """Share of requests that may be late."""
        return 1.0 - self.quantile
