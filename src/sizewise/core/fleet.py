"""The one decision: a view of all models and the machine in, desired replicas with reasons out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sizewise.core.profiles import ModelProfile
from sizewise.core.slo import Slo


class ReplicaState(StrEnum):
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class Isolation(StrEnum):
    """Where a model may run."""

    AUTO = "auto"
    """In a process of its own, or beside other small models of its runtime where there are many of them."""
    PROCESS = "process"
    """Always in a process of its own."""
    INLINE = "inline"
    """In the gateway itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """What a user may set about scaling one model."""

    min_replicas: int = 0
    max_replicas: int = 4
    priority: int = 0
    """A higher number is served first when capacity is short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaView:
    replica_id: str
    version: str
    state: ReplicaState
    since_s: float
    """When it entered this state."""
    ready_at_s: float
    """When it was, or is expected to be, ready."""
    memory_bytes: int = 0
    """Private bytes now; 0 while unknown."""
    outstanding: int = 0
    idle_s: float = 0.0
    """Seconds since it last worked; 0 while working."""
    machine: str = ""
    """Name of the machine it runs on, where there are several."""
    host: str = ""
    """The process that it shares. ``memory_bytes`` is then what it adds to that process."""
    replaces: str = ""
    """The replica whose place it takes once it is ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one model is asked for. Rates are requests per second.

    Counted at the gateway on arrival, so requests that were shed or wait for a cold model are demand as well.
    """

    observed_at_s: float
    """When this was read. Old readings never scale in."""
    burst_per_s: float = 0.0
    """Over the last ``window_s``: as short as the model can follow, and as its goal lets it notice."""
    window_s: float = 3.0
    stable_per_s: float = 0.0
    """Over about a minute."""
    rows_per_request: float = 1.0
    in_flight: int = 0
    """At replicas."""
    queued: int = 0
    """At the gateway, held requests included."""
    held: int = 0
    """At the gateway because no replica is ready."""
    shed_per_s: float = 0.0
    idle_s: float = math.inf
    """Since the last arrival."""
    gap_s: float = math.inf
    """Decayed mean time between arrivals."""
    gaps: tuple[int, ...] = ()
    """How many of what length there were: ``core/returns.py``; empty while there was none."""
    envelope: tuple[tuple[float, float], ...] = ()
    """(window in seconds, most arrivals seen in any such window), both rising."""
    forecast_per_s: float = 0.0
    """Rate that is expected when a replica started now is ready; 0 while no forecast is worth following."""
    forecast_lead_s: float = 0.0
    attainment: float | None = None
    """Share of the last minute's requests that met the SLO."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """One model as the decision sees it. ``state`` is what the last decision asked to be handed back."""

    name: str
    version: str
    profile: ModelProfile
    """Effective figures: live where there are enough samples, else measured, else estimated."""
    slo: Slo | None
    policy: ScalingPolicy
    demand: Demand
    replicas: tuple[ReplicaView, ...] = ()
    """All that exist, draining ones and those of another version included."""
    mapped_bytes: int = 0
    """Shared weights that are charged while at least one replica lives."""
    warm_version: str | None = None
    """Version whose files are held in memory without a replica; None where none are."""
    warm_bytes: int = 0
    """Of them in memory by now."""
    warm_since_s: float | None = None
    """When that began."""
    candidate: str | None = None
    """A version that is to be loaded beside ``version`` and has not been switched to yet."""
    candidate_profile: ModelProfile | None = None
    parked_until_s: float | None = None
    """Crash-looping: start nothing before this time."""
    pinned: int | None = None
    """Replicas that somebody asked for by hand (v2 repository load/unload); None lets the policy choose."""
    isolation: Isolation = Isolation.AUTO
    alone: str | None = None
    """Why it shares a process with nobody: it was found to have brought one down."""
    state: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    cpus: float
    memory_bytes: int
    """The budget: what all replicas and their shared weights may take together."""
    overhead_bytes: int = 0
    """Charged to nobody's model: gateway, keeper, warm parents, controller."""
    load_slots: float = 1
    """Loads at once that storage can feed without slowing each other; a quick one takes a part of a slot."""
    warmth: str = "ours"
    """Which rule says what stays in memory unused: a name of ``warmth_policies``, ours or another to compare with."""
    name: str = ""
    domain: str = ""
    """What fails together: a rack, a zone. The machine by itself where none is named."""
    device_bytes: int = 0
    """Memory of its accelerators together."""
    disk_bytes: float = math.inf
    """For the files of models; infinite where nobody bounds it."""
    ready_in_s: float = 0.0
    """Until something can start there: one that is being obtained, or could be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A process that replicas share."""

    host: str
    runtime: str = ""
    memory_bytes: int = 0
    """Private bytes, those of its replicas included."""
    unexplained: int = 0
    """Ends that no replica is known to have caused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetView:
    """Everything a decision may look at. Times are on one monotonic clock."""

    now_s: float
    machine: MachineView
    models: tuple[ModelView, ...]
    machines: tuple[MachineView, ...] = ()
    """Several, by name: ``machine`` then stands for all of them together (``placement.pooled``)."""
    stale_after_s: float = 5.0
    state: Mapping[str, object] = field(default_factory=dict)
    """What the last decision asked to be handed back about all models together."""
    hosts: tuple[HostView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Which rule bound and the numbers it bound with; rendered to text only when somebody asks (``reasons.render``)."""

    code: str
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An alternative that was not taken."""

    desired: int
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDecision:
    """``desired`` replicas of ``version``; ``start`` more now, ``stop`` these (drained first)."""

    name: str
    desired: int
    wanted: int
    """Before budgets and priorities."""
    reason: Reason
    start: int = 0
    start_version: str = ""
    machines: tuple[str, ...] = ()
    """Where each of those that start is to start; empty where there is one machine."""
    stop: tuple[str, ...] = ()
    refused: tuple[Refused, ...] = ()
    hold_warm: bool = False
    """Keep the files of ``version`` in memory, or have them kept, although no replica is there to need them."""
    expected_attainment: float | None = None
    state: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetDecision:
    at_s: float
    models: tuple[ModelDecision, ...]
    memory_planned_bytes: int = 0
    """What the budget is charged with once everything decided here has happened."""
    free_bytes: int = 0
    """Memory that nobody has or was promised at this moment, whatever may yet go."""
    free_slots: float = 0.0
    """Loads that may begin besides those decided here."""
    state: Mapping[str, object] = field(default_factory=dict)
