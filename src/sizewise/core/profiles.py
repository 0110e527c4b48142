"""What a model weighs: facts read from its files, and behaviour measured by running it."""

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from sizewise.core.tensors import TensorSpec


class Source(StrEnum):
    """Where a figure comes from. Live beats measured beats estimated, once it has enough samples."""

    ESTIMATED = "estimated"
    MEASURED = "measured"
    LIVE = "live"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the files say, without running anything.

    ``runtime`` names the runtime that can serve it (``onnx``, ``sklearn``, ``xgboost``, ``lightgbm``, ``torch``,
    ``python``, ``command``); None means that the file can be weighed but not served. ``batchable`` is False when
    the first dimension of an input is fixed, or is not a batch. ``entry`` is the file, relative to the model's
    folder, that the runtime opens. ``files`` are all files that make up the model, relative to that folder.
    """

    format: str
    platform: str
    runtime: str | None
    disk_bytes: int
    external_bytes: int = 0
    """Of ``disk_bytes``: weights in files beside ``entry``, which a runtime can map."""
    parameters: int | None = None
    weight_bytes: tuple[tuple[str, int], ...] = ()
    """Bytes of weights by datatype, largest first."""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    batchable: bool = True
    entry: str = ""
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def weights_bytes(self) -> int:
        """All weights, over every datatype; the bytes on disk when the format does not tell."""
        return sum(size for _, size in self.weight_bytes) or self.disk_bytes


@dataclass(frozen=True, kw_only=True)
class LoadTime:
    """Seconds from the decision to start until the first answer can be given, by stage.

    Without slots, as the others below: what is worked out from the figures is kept, since every decision asks for it.
    """

    start_s: float = 0.0
    fetch_s: float = 0.0
    load_s: float = 0.0
    warmup_s: float = 0.0
    disk_bytes: int = 0
    """Read from disk meanwhile: what was not in memory."""

    @cached_property
    def total_s(self) -> float:
        return self.start_s + self.fetch_s + self.load_s + self.warmup_s


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one replica. What one replica is charged is ``replica_bytes``; ``mapped_bytes`` are shared by all
    replicas of the model on a machine and are charged once."""

    base_bytes: int = 0
    """The process before the model is in it."""
    resident_bytes: int = 0
    """Private memory that the loaded model adds."""
    mapped_bytes: int = 0
    """Weights mapped from files, shared between replicas."""
    per_request_bytes: int = 0
    """Private memory that one more concurrent request adds."""
    peak_bytes: int = 0
    """Highest private memory seen, base included."""
    device_bytes: int = 0
    """Memory of an accelerator that one replica takes."""

    @cached_property
    def replica_bytes(self) -> int:
        """Private bytes of one replica at work."""
        return max(self.base_bytes + self.resident_bytes + self.per_request_bytes, self.peak_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPoint:
    """Latency of one call with ``batch`` rows, in seconds."""

    batch: int
    p50_s: float
    p95_s: float
    samples: int = 0


@dataclass(frozen=True)
class LatencyCurve:
    """Latency against batch as measured points, sorted by batch; at least one.

    Between points it is interpolated and made monotone; beyond the last one it goes on with the slope of the last
    two (a straight line is used only there).
    """

    points: tuple[BatchPoint, ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("a latency curve needs at least one point")

    def p50_s(self, batch: float) -> float:
        return self._at(batch, 1)

    def p95_s(self, batch: float) -> float:
        return self._at(batch, 2)

    def throughput_per_s(self, batch: float) -> float:
        """Rows per second of one replica that always runs batches of this size."""
        return batch / self.p50_s(batch)

    @property
    def max_batch(self) -> int:
        return self.points[-1].batch

    @cached_property
    def steps(self) -> tuple[tuple[int, float, float], ...]:
        """(batch, median, 95th percentile) of each point: neither falls with the batch, nor the one below the other.

        Noise may make a larger batch look faster; waiting for it never is.
        """
        steps: list[tuple[int, float, float]] = []
        p50_s = p95_s = 0.0
        for point in self.points:
            p50_s = max(p50_s, point.p50_s)
            p95_s = max(p95_s, point.p95_s, point.p50_s)
            steps.append((point.batch, p50_s, p95_s))
        return tuple(steps)

    def _at(self, batch: float, column: int) -> float:
        steps = self.steps
        i = bisect_left(steps, (batch,))
        if i < len(steps) and steps[i][0] == batch:
            return steps[i][column]
        if i == 0:
            return steps[0][column]
        if len(steps) == 1:
            return steps[0][column] * batch / steps[0][0]
        low, high = (steps[i - 1], steps[i]) if i < len(steps) else (steps[-2], steps[-1])
        slope = (high[column] - low[column]) / (high[0] - low[0])
        return low[column] + slope * (batch - low[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One of the sessions that a replica opens one after the other on the same model."""

    name: str
    open_s: float
    """Opening and its first call."""
    curve: LatencyCurve


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadCurve:
    """Latency with another number of threads than the one that was chosen."""

    threads: int
    curve: LatencyCurve


@dataclass(frozen=True, kw_only=True)
class ModelProfile:
    """Facts, load time, memory and latency of a model on one machine.

    A profile is a prior: the controller replaces figures by live ones as they gather samples (``estimates``).
    """

    facts: ModelFacts
    load: LoadTime
    """From a warm page cache."""
    memory: Memory
    curve: LatencyCurve
    source: Source
    load_cold: LoadTime | None = None
    """From a cold page cache, where that could be measured."""
    threads: int = 1
    """Threads of one replica's runtime while these figures were taken."""
    other_threads: tuple[ThreadCurve, ...] = ()
    """Measured as well, and not chosen; perhaps at batch 1 only."""
    machine: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    measured_at_s: float | None = None
    """Unix time; None for an estimate."""
    samples: int = 0

    stages: tuple[Stage, ...] = ()
    """Where a load-ready form has several: each in the order it opens. ``curve`` is that of the steady one."""
    form: str = ""
    """Key of the load-ready form that these figures are of; empty for the files as they were deployed."""

    errors: tuple[str, ...] = field(default=())
    """What could not be measured, and why."""

    @cached_property
    def reload_s(self) -> float:
        """Seconds to have it back some time after it was let go: nobody keeps its files in the page cache meanwhile."""
        return max(self.load.total_s, self.load_cold.total_s if self.load_cold is not None else 0.0)

    @cached_property
    def worked_out(self) -> dict[str, tuple[object, object]]:
        """Kept for whoever works something costly out of this profile, by rule: (question, answer), the last only."""
        return {}

    @cached_property
    def impossible(self) -> tuple[str, float] | None:
        """The first figure that cannot be, by name, or None."""
        if not (0 <= self.load.total_s < math.inf):
            return "load_s", self.load.total_s
        for point in self.curve.points:
            if not (0 < point.p50_s < math.inf and 0 < point.p95_s < math.inf):
                return "latency_s", point.p50_s
        least = min(self.memory.replica_bytes, self.memory.mapped_bytes)
        return ("memory_bytes", least) if least < 0 else None
