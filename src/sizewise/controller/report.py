"""What ``status`` and ``explain`` answer: the shapes of the admin API's JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sizewise.controller.records import Origin, Rollout
from sizewise.core.slo import Slo

ModelState = Literal["cold", "loading", "ready", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaCounts:
    desired: int
    ready: int
    loading: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a profile beside what production shows."""

    profiled: float | None
    """Measured, or estimated from the file when ``ModelStatus.profile_source`` says so."""
    live: float | None
    """None until there are enough samples."""
    samples: int = 0
    age_s: float | None = None
    """Since the last live sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStatus:
    """One of the sessions on a load-ready form, in the order in which replicas open them."""

    name: str
    ready: int
    """Replicas that answer from it now."""
    open_s: float | None
    """Opening and its first call; None while it was not measured, as ``p50_s`` is empty."""
    p50_s: Mapping[int, float]
    """By batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    name: str
    version: str
    state: ModelState
    replicas: ReplicaCounts
    weights_bytes: int
    memory_bytes: int
    """Charged now: private bytes of all its replicas, and its mapped weights once."""
    warm_bytes: int
    """Of its files that are held in memory without a replica; part of ``memory_bytes``."""
    replica_memory_bytes: int
    """Of one replica at work, its mapped weights included, as decisions expect it now."""
    load_s: float
    """From the decision to start to the first answer, as decisions expect it now."""
    requests_total: int
    errors_total: int
    shed_total: int
    """Refused with 429 or 503, because of overload or while it could not answer."""
    cold_starts_total: int
    """Loads begun while no replica was up. This and the next two since this controller began."""
    replica_seconds: float
    """From the order of each start to its end, loading included, summed over replicas."""
    memory_byte_seconds: float
    """Charged memory over time."""
    slo_attainment: float | None
    """Over the last 60 s; None without traffic, as ``p95_s``."""
    p95_s: float | None
    reason: str
    """Of the last decision, in words."""
    origin: Origin
    uri: str
    format: str
    platform: str
    runtime: str
    disk_bytes: int
    parameters: int | None
    slo: Slo | None
    candidate: str | None
    """The version that is being rolled out."""
    rollout: Rollout | None
    pinned: int | None
    profile_source: str
    profile_age_s: float | None
    """Since it was measured; None for an estimate."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """``load_s``, ``p50_s[BATCH]``, ``p95_s[BATCH]``, ``replica_bytes`` and ``mapped_bytes``."""
    stages: tuple[StageStatus, ...] = ()
    """Empty for a model that is served as it was deployed."""
    failure: str | None = None
    """Why it cannot be woken now."""
    last_exit: str | None = None
    """How a replica of it last died: ``signal 9``, ``out of memory``, ``exit 1: ...``."""
    hosts: tuple[str, ...] = ()
    """Processes that its replicas share with those of other models."""
    inline_refused: str | None = None
    """Why it does not run inside the gateway although its owner allows it; None where it does, or nobody asked."""
    host_reason: str | None = None
    """Why its replicas share processes, or do not; None while it has none."""
    form: str | None = None
    """The load-ready form that it is opened from, or why there is none; None where none is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineStatus:
    cpus: float
    memory_bytes: int
    """The budget of models and of Sizewise itself."""
    memory_used_bytes: int
    disk_bytes: int
    disk_used_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    role: str
    pid: int
    model: str | None
    version: str | None
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    models: tuple[ModelStatus, ...]
    machine: MachineStatus
    processes: tuple[ProcessStatus, ...]
    data_url: str = ""
    grpc_address: str = ""
    """Host and port; empty without gRPC."""
    admin_url: str = ""
    pid: int = 0
    """Of the controller."""
    version: str = ""
    problems: tuple[str, ...] = ()
    """What could not be observed. Nothing scales in meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    desired: int
    reason: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One decision, rendered."""

    at_unix_s: float
    version: str
    desired: int
    wanted: int
    """Before budgets and priorities."""
    ready: int
    loading: int
    code: str
    """The rule that bound."""
    reason: str
    numbers: Mapping[str, float | int | str]
    inputs: Mapping[str, float | int | str | None]
    refused: tuple[Refusal, ...]
    effect: tuple[str, ...]
    expected_attainment: float | None
