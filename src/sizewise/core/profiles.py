"""What a model weighs: facts read from its files, and behaviour measured by running it."""

from bisect import bisect_left
from dataclasses import dataclass, field
from enum import StrEnum

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTime:
    """Seconds from the decision to start until the first answer can be given, by stage."""

    start_s: float = 0.0
    fetch_s: float = 0.0
    load_s: float = 0.0
    warmup_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.start_s + self.fetch_s + self.load_s + self.warmup_s


@dataclass(frozen=True, slots=True, kw_only=True)
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

    @property
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


@dataclass(frozen=True, slots=True)
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
        return self._at(batch, tuple(p.p50_s for p in self.points))

    def p95_s(self, batch: float) -> float:
        return self._at(batch, tuple(p.p95_s for p in self.points))

    def throughput_per_s(self, batch: float) -> float:
        """Rows per second of one replica that always runs batches of this size."""
        return batch / self.p50_s(batch)

    @property
    def max_batch(self) -> int:
        return self.points[-1].batch

    def _at(self, batch: float, values: tuple[float, ...]) -> float:
        sizes = [p.batch for p in self.points]
        # Noise may make a larger batch look faster; waiting for it never is.
        monotone: list[float] = []
        for value in values:
            monotone.append(max(value, monotone[-1]) if monotone else value)
        i = bisect_left(sizes, batch)
        if i < len(sizes) and sizes[i] == batch:
            return monotone[i]
        if i == 0:
            return monotone[0]
        if len(sizes) == 1:
            return monotone[0] * batch / sizes[0]
        low, high = (i - 1, i) if i < len(sizes) else (len(sizes) - 2, len(sizes) - 1)
        slope = (monotone[high] - monotone[low]) / (sizes[high] - sizes[low])
        return monotone[low] + slope * (batch - sizes[low])


@dataclass(frozen=True, slots=True, kw_only=True)
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
    machine: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    measured_at_s: float | None = None
    """Unix time; None for an estimate."""
    samples: int = 0

    errors: tuple[str, ...] = field(default=())
    """What could not be measured, and why."""

    @property
    def reload_s(self) -> float:
        """Seconds to have it back some time after it was let go: nobody keeps its files in the page cache meanwhile."""
        return max(self.load.total_s, self.load_cold.total_s if self.load_cold is not None else 0.0)
