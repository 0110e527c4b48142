"""What runs models: started, stopped and reported here, decided elsewhere."""

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from sizewise.core.fleet import MachineView, ReplicaState
from sizewise.core.forms import Form
from sizewise.core.profiles import LoadTime
from sizewise.core.tensors import TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """A server the user brings. ``{port}`` in ``argv`` is replaced by a free port."""

    argv: tuple[str, ...]
    cwd: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    ready_path: str = "/"
    ready_timeout_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSpec:
    """All that is needed to start one replica, now or again after a death."""

    replica_id: str
    model: str
    version: str
    runtime: str
    path: str = ""
    """Folder of the artifact in the store."""
    entry: str = ""
    """File in that folder which the runtime opens."""
    threads: int = 1
    max_batch: int = 1
    """Rows that one call may take; 1 where the batch dimension is fixed."""
    max_outstanding: int = 64
    """Requests that the gateway may have at this replica at once."""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    self_check: bool = False
    """Fail the load when an answer to synthetic input cannot be computed."""
    load_timeout_s: float = 600.0
    command: CommandSpec | None = None
    inline: bool = False
    """In the gateway's own process, as long as that has not died with it."""
    form: Form | None = None
    """A load-ready form of the artifact, opened in its place."""
    host: str = ""
    """Process that it shares with replicas of other models which name the same one; empty: one of its own."""
    replaces: str = ""
    """The replica whose place it takes; the backend only repeats it."""
    machine: str = ""
    """Where it is to start, of ``Snapshot.machines``; empty where there is one machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRoute:
    """What the gateway must know of a model to accept, hold, route and refuse requests without asking anybody."""

    model: str
    version: str
    platform: str
    runtime: str
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    batchable: bool = True
    slo_s: float | None = None
    service_s: float = 0.01
    """Expected seconds of one call of one row; the gateway corrects it from what it sees."""
    max_queue: int = 1024
    """Requests waiting at the gateway, held ones included."""
    hold_s: float = 60.0
    """How long a request may wait for a cold model."""
    timeout_s: float = 30.0
    """Deadline of a request that names none."""
    refuse: str | None = None
    """Set when the model cannot be woken (failed, parked, does not fit): the text clients get with 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReplica:
    spec: ReplicaSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReplica:
    replica_id: str
    drain_s: float = 30.0
    """0 ends it at once."""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeForm:
    """A replica that runs answers from ``form``, a load-ready form of its artifact, as soon as that is open.

    One that cannot open it goes on as it is. Started again it begins with it.
    """

    replica_id: str
    form: Form


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishModel:
    """Requests for ``route.model`` are accepted; they go to ready replicas of ``route.version`` only."""

    route: ModelRoute


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawModel:
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldWarm:
    """Have these files stay in memory without a replica: one set for each model, a later one replaces it."""

    model: str
    version: str
    path: str
    """Folder of the artifact in the store."""
    files: tuple[str, ...]
    """In that folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseWarm:
    model: str


Action = StartReplica | StopReplica | TakeForm | PublishModel | WithdrawModel | HoldWarm | ReleaseWarm


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaObserved:
    replica_id: str
    model: str
    version: str
    state: ReplicaState
    pid: int | None
    since_s: float
    """Clock time at which it entered this state."""
    started_at_s: float
    ready_at_s: float | None = None
    load: LoadTime | None = None
    """Measured stages of its load, once ready."""
    stage: str = ""
    """Which of the sessions on a load-ready form it answers from; empty for the model as it was deployed."""
    settled: bool = True
    """No other session will take over."""
    form: str = ""
    """Key of the load-ready form that it was told of."""
    memory_bytes: int = 0
    """RssAnon of its processes."""
    mapped_bytes: int = 0
    """Resident pages of files of its artifact."""
    peak_bytes: int = 0
    restarts: int = 0
    """Deaths since it was ordered."""
    last_exit: str | None = None
    """How it last died: ``signal 9``, ``out of memory``, ``exit 1: ...``."""
    last_exit_at_s: float | None = None
    port: int | None = None
    outstanding: int = 0
    """Requests that the gateway has given it and that are not answered."""
    idle_s: float = 0.0
    """Since its last answer; 0 while it works."""
    mute_s: float = 0.0
    """Since it was given a request that expired there, if it has answered nothing since, not even whether it lives."""
    host: str = ""
    """The process that it shares. ``memory_bytes`` is then what its load added to that process."""
    culprit: bool = False
    """It was executing when the process that it shared ended. It has one of its own since."""
    replaces: str = ""
    machine: str = ""
    """Where it runs, or is to start; empty where there is one machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTraffic:
    """Counters of one model since the gateway with ``Snapshot.gateway_epoch`` began; they only grow."""

    model: str
    arrivals: int = 0
    """Requests that ask for the model's work. One found invalid before it woke the model is a client error only."""
    answered: int = 0
    """Answers with a status below 400."""
    client_errors: int = 0
    errors: int = 0
    """Answers with 500 or above that are the model's or the server's fault, shed ones excluded."""
    shed: int = 0
    """429 and 503 given because of overload or an unready model."""
    cancelled: int = 0
    within_slo: int = 0
    cold_held: int = 0
    """Requests that had to wait because no replica was ready."""
    rows: int = 0
    batches: int = 0
    """Calls of the model."""
    answer_s: float = 0.0
    """Sum over answered requests of arrival to answer."""
    compute_s: float = 0.0
    """Of it, in the call that answered each; a call that requests shared counts for each of them. Of a server of the
    user's, until its answer began."""
    queued: int = 0
    in_flight: int = 0
    held: int = 0
    last_arrival_s: float | None = None
    latency_counts: tuple[int, ...] = ()
    """Histogram of seconds from arrival to answer; bounds in ``core.histogram.BOUNDS_S``."""
    batch_samples: tuple[tuple[int, float], ...] = ()
    """(rows, seconds) of batches computed since the last read; each is handed out once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmObserved:
    """Files of one model that are held in memory, whether or not it has replicas."""

    model: str
    version: str
    bytes: int
    """In memory by now; it grows while they are being read."""
    since_s: float
    """Clock time at which holding them began."""
    path: str = ""
    """Folder that they lie in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessObserved:
    role: str
    pid: int
    model: str | None = None
    version: str | None = None
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostObserved:
    """A process that replicas share."""

    host: str
    pid: int | None
    runtime: str
    memory_bytes: int = 0
    """Private bytes, those of its replicas included."""
    unexplained: int = 0
    """Ends that no replica is known to have caused."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What is. ``problems`` name what could not be read: a decision must not scale in on their account."""

    at_s: float
    replicas: tuple[ReplicaObserved, ...] = ()
    traffic: tuple[ModelTraffic, ...] = ()
    traffic_at_s: float | None = None
    """When the traffic was read; None when the gateway did not answer."""
    gateway_epoch: str = ""
    warm: tuple[WarmObserved, ...] = ()
    processes: tuple[ProcessObserved, ...] = ()
    hosts: tuple[HostObserved, ...] = ()
    machines: tuple[MachineView, ...] = ()
    """Those that something may be started on, by name; none where there is one machine."""
    oom_kills: int = 0
    problems: tuple[str, ...] = field(default=())

    def replicas_of(self, model: str) -> tuple[ReplicaObserved, ...]:
        return self._by_model.get(model, ())

    def warm_of(self, model: str) -> tuple[WarmObserved, ...]:
        return self._warm_by_model.get(model, ())

    @cached_property
    def _warm_by_model(self) -> Mapping[str, tuple[WarmObserved, ...]]:
        found: dict[str, tuple[WarmObserved, ...]] = {}
        for held in self.warm:
            found[held.model] = (*found.get(held.model, ()), held)
        return found

    @cached_property
    def _by_model(self) -> Mapping[str, tuple[ReplicaObserved, ...]]:
        """Looked through once: there may be thousands of models and replicas."""
        found: dict[str, list[ReplicaObserved]] = {}
        for replica in self.replicas:
            found.setdefault(replica.model, []).append(replica)
        return {model: tuple(own) for model, own in found.items()}


class EventKind(enum.StrEnum):
    COLD = "cold"
    """A request came for a model without a ready replica."""
    REPLICA = "replica"
    """A replica changed state."""
    GATEWAY = "gateway"
    """The gateway came up (again)."""
    POISON = "poison"
    """A request that killed two replicas was given up."""
    REPOSITORY = "repository"
    """A client asked to load or unload ``model`` (v2 repository API); ``detail`` is ``load`` or ``unload``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    kind: EventKind
    model: str = ""
    replica_id: str = ""
    detail: str = ""


class Backend(Protocol):
    """Replicas of one provider.

    ``apply`` returns once the provider has accepted the actions as a whole; progress shows in the next ``observe``.
    Applying an action twice is harmless. ``observe`` never raises for a part that does not answer: it says so in
    ``Snapshot.problems``. Errors that leave: UnavailableError when the provider cannot be reached.
    """

    name: str

    async def observe(self) -> Snapshot: ...

    async def apply(self, actions: Sequence[Action]) -> None: ...

    def events(self) -> AsyncIterator[Event]:
        """Changes as they happen; a hint to look, never the only news of something."""
        ...
