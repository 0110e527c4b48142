"""A scenario as values: which requests come, to which models, on what capacity, under which policies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sizewise.core.fleet import ScalingPolicy
from sizewise.core.profiles import ModelProfile
from sizewise.core.slo import Slo
from sizewise.core.warmth_policies import OURS
from sizewise.simulation.spread import Shape, Spread, constant

MANY_REPLICAS = 1000
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONDAY_UNIX_S = 1_704_067_200.0
"""2024-01-01 00:00 UTC: when simulated time begins, unless the trace says another day of the week."""
NOTHING, A_MINUTE = constant(0.0), constant(60.0)


class Dispatch(StrEnum):
    LEAST_OUTSTANDING = "least_outstanding"
    """As the gateway does: the replica with least work, of equals the one used last."""
    ROUND_ROBIN = "round_robin"
    """One after the other, passing over those that are full."""


class Mode(StrEnum):
    STOCK = "stock"
    """Published defaults; a target that its maker leaves to the user keeps the documented example."""
    CALIBRATED = "calibrated"
    """Targets from the same profile that Sizewise is given, delays as published."""
    TUNED = "tuned"
    """Calibrated, and changed by the parameters given."""
    SIZE_BLIND = "size_blind"
    """Sizewise itself, told that every model is the median one."""
    PERFECT_FORECAST = "perfect_forecast"
    """Sizewise itself, told the rates that will come: nobody can have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSource:
    """A file of arrivals."""

    path: Path
    time: str = "timestamp_s"
    model: str | None = "model"
    """Column that names the model; None: all requests are for the one model ``only``."""
    only: str = "model"
    requests: str | None = None
    """Column of counts; None: one row is one request, unless the file has the column ``requests``."""
    scale: float = 1.0
    begins: str = WEEKDAYS[0]
    """Day of the week whose midnight, UTC, is second 0 of the file."""
    from_s: float = 0.0
    to_s: float | None = None
    names: tuple[str, ...] = ()
    """Only these models; empty: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """Arrivals that are made up, with a seed."""

    kind: str
    duration_s: float
    rate_per_s: float = 1.0
    """Mean of one model; of the whole catalogue for ``zipf``."""
    models: int = 1
    cv: float = 1.0
    """Of the gaps: 1 is Poisson."""
    peak: float = 3.0
    """Largest rate over the mean (diurnal), over the rate before (flash), high over low (mmpp)."""
    weekend: float = 0.7
    at_s: float = 0.0
    lasts_s: float = 600.0
    on_s: float = 1800.0
    off_s: float = 7200.0
    exponent: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """What a start is made of. Replicas that read at once from one disk or network share its bandwidth in ``fetch``
    and ``load``; the other stages take what they take."""

    image: Spread = NOTHING
    start: Spread = NOTHING
    fetch: Spread = NOTHING
    load: Spread = NOTHING
    warmup: Spread = NOTHING

    @property
    def stages(self) -> tuple[Spread, ...]:
        return (self.image, self.start, self.fetch, self.load, self.warmup)

    @property
    def median_s(self) -> float:
        return sum(stage.median_s for stage in self.stages)

    @property
    def shortest_s(self) -> float:
        """No load takes less."""
        return sum(stage.at(0.0) for stage in self.stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimModel:
    """One model: what it does, and what it is known to do."""

    profile: ModelProfile
    """What it weighs, and what the controller is told."""
    loading: Loading
    shape: Shape = "lognormal"
    cv: float = 0.0
    """Of the service time at any one batch size."""
    slo: Slo | None = None
    scaling: ScalingPolicy = field(default_factory=lambda: ScalingPolicy(max_replicas=MANY_REPLICAS))
    max_queue: int = 1024
    timeout_s: float = 30.0
    hold_s: float = 60.0
    batchable: bool = False
    told: ModelProfile | None = None
    """What the controller is told instead: a lie, to see what it costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePool:
    """Machines of one type, obtained when something does not fit on those there are."""

    name: str
    cpus: float
    memory_bytes: int
    device_bytes: int = 0
    disk_bytes: float = math.inf
    price_usd_per_h: float = 0.0
    least: int = 0
    most: int = 1
    provision: Spread = A_MINUTE
    linger_s: float = 600.0
    """An empty machine goes back after this long."""
    stock_outs: tuple[tuple[float, float], ...] = ()
    """(from, to) in seconds: nothing can be obtained."""
    load_slots: int = 1
    """Loads that its disk and network feed without slowing each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """One of the two is set."""

    replicas: int | None = None
    """Slots, each with room and cores for any one replica."""
    replica_usd_per_h: float = 0.0
    machines: tuple[MachinePool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Traffic of one model before the time that is simulated, hour by hour; the last hour ends when time begins."""

    mean_per_s: tuple[float, ...]
    peak_per_s: tuple[float, ...]
    """Of the busiest minute of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChoice:
    name: str
    mode: Mode
    parameters: Mapping[str, float | int | str] = field(default_factory=dict)
    target_factor: float = 1.0
    """On the load that it aims at: everything else being equal, a larger one is cheaper and later."""
    line: int = 0
    past: Mapping[str, Past] = field(default_factory=dict)
    """By model, for those that look back."""

    @property
    def label(self) -> str:
        """As it is called where several are shown together."""
        given = [f"target x{self.target_factor:g}"] if self.target_factor != 1.0 else []
        given += [f"{key}={value}" for key, value in self.parameters.items()]
        mode = "" if self.mode is Mode.STOCK else f" {self.mode.value.replace('_', '-')}"
        shown = ",".join(given)
        return f"{self.name}{mode}{f' ({shown})' if shown else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """How well the autoscalers see."""

    delay_s: float = 0.0
    noise: float = 0.0
    """Standard deviation of a factor on counts and concurrency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    file: str
    source: TraceSource | Generator
    models: Mapping[str, SimModel]
    """By name or pattern with ``*``; the first that matches is meant, exact names before patterns."""
    capacity: Capacity
    policies: tuple[PolicyChoice, ...]
    shedding: bool = True
    dispatch: Dispatch = Dispatch.LEAST_OUTSTANDING
    max_in_flight: int | None = None
    """Requests at one replica at once; None: what the controller chooses for live replicas."""
    start_replicas: int = 1
    """Of each model, ready when time begins."""
    decide_every_s: float = 1.0
    wake_s: float = 0.05
    """A request for a model without a replica brings the next decision this close."""
    metrics: Metrics = field(default_factory=Metrics)
    warmup_s: float = 0.0
    warmth: str = OURS
    """By which rule Sizewise keeps unused models in memory: a name of ``core/warmth_policies.py``."""
    seed: int = 1

    @property
    def counted_from_s(self) -> float:
        """Requests and costs before this are not reported: the first whole minute behind the warm-up."""
        return math.ceil(self.warmup_s / 60.0) * 60.0

    @property
    def begins_unix_s(self) -> float:
        """The date of second 0: seasons know hours of the day and weekends."""
        source = self.source
        if isinstance(source, Generator):
            return MONDAY_UNIX_S
        return MONDAY_UNIX_S + WEEKDAYS.index(source.begins) * 86_400.0 + source.from_s
