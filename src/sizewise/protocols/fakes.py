"""Public fakes: a clock that is moved by hand, and a backend in memory that passes the suite of real ones."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sizewise.core.fleet import ReplicaState
from sizewise.core.profiles import LoadTime
from sizewise.protocols.backend import (
    Action,
    Event,
    EventKind,
    HoldWarm,
    HostObserved,
    ModelRoute,
    ModelTraffic,
    ProcessObserved,
    PublishModel,
    ReleaseWarm,
    ReplicaObserved,
    ReplicaSpec,
    Snapshot,
    StartReplica,
    StopReplica,
    TakeForm,
    WarmObserved,
)
from sizewise.protocols.clock import Clock
from sizewise.protocols.errors import UnavailableError

FIRST_PID = 1000


class ManualClock:
    """Stands still until ``advance``; sleepers wake in the order of their times."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self._now_s = now_s
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []

    def now_s(self) -> float:
        return self._now_s

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self._now_s + max(0.0, seconds), next(self._order), woken))
        if seconds <= 0:
            self.advance(0.0)
        await woken.wait()

    def advance(self, seconds: float) -> None:
        """Move on; whoever sleeps until then or earlier wakes when the loop comes round."""
        self._now_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now_s:
            heapq.heappop(self._sleepers)[2].set()


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeModel:
    """How replicas of one model behave."""

    load: LoadTime = field(default_factory=lambda: LoadTime(start_s=0.01, load_s=0.1))
    load_cold: LoadTime | None = None
    """When neither a replica nor anything held has its files in memory as it starts; None: as ``load``."""
    files_bytes: int = 1
    memory_bytes: int = 0
    mapped_bytes: int = 0
    fails: str | None = None
    """Loading ends with this reason instead of a ready replica."""
    drain_s: float = 0.0
    """What a replica needs to finish what it has; a stop that allows less ends it then."""


@dataclass(slots=True)
class _Replica:
    spec: ReplicaSpec
    pid: int
    started_at_s: float
    load: LoadTime
    gone_at_s: float | None = None
    stopped_at_s: float | None = None
    restarts: int = 0
    last_exit: str | None = None
    last_exit_at_s: float | None = None
    culprit: bool = False


class FakeBackend:
    """A `Backend` in memory: replicas become ready when the clock has passed their declared load time."""

    name = "fake"

    def __init__(self, clock: Clock, models: Mapping[str, FakeModel] | None = None) -> None:
        self.models = dict(models or {})
        """By model name; a model that is not here behaves like ``FakeModel()``."""
        self.routes: dict[str, ModelRoute] = {}
        """What is published."""
        self.warm: dict[str, WarmObserved] = {}
        """What is held, by model."""
        self.traffic: dict[str, ModelTraffic] = {}
        """Counters to report, by model; set them as the story goes."""
        self.problems: tuple[str, ...] = ()
        self.reachable = True
        """False: ``apply`` raises UnavailableError and ``observe`` reports a problem and no traffic."""
        self.actions: list[Action] = []
        """Everything applied, in order."""
        self.gateway_epoch = "1"
        self.grown_bytes: dict[str, int] = {}
        """What models in a shared process have come to hold since they were loaded, by model: nobody can tell whose."""
        self.oom_kills = 0
        self._clock = clock
        self._pids = itertools.count(FIRST_PID)
        self._replicas: dict[str, _Replica] = {}
        self._listeners: list[asyncio.Queue[Event]] = []

    async def observe(self) -> Snapshot:
        now_s = self._clock.now_s()
        self._forget_gone(now_s)
        observed = tuple(self._observed(each, now_s) for each in self._replicas.values())
        unreachable = () if self.reachable else ("fake: unreachable",)
        traffic = tuple(self.traffic.get(model, ModelTraffic(model=model)) for model in self.routes)
        return Snapshot(
            at_s=now_s,
            replicas=observed,
            traffic=traffic if self.reachable else (),
            traffic_at_s=now_s if self.reachable else None,
            gateway_epoch=self.gateway_epoch if self.reachable else "",
            warm=tuple(self.warm.values()),
            hosts=self._hosts(observed),
            processes=tuple(
                ProcessObserved(
                    role="replica", pid=each.pid, model=each.model, version=each.version, memory_bytes=each.memory_bytes
                )
                for each in observed
                if each.pid is not None
            ),
            oom_kills=self.oom_kills,
            problems=(*self.problems, *unreachable),
        )

    def _hosts(self, observed: Sequence[ReplicaObserved]) -> tuple[HostObserved, ...]:
        """Of processes that replicas share, what each adds to them; ``grown_bytes`` is on top of that."""
        runtimes = {each.spec.host: each.spec.runtime for each in self._replicas.values() if each.spec.host}
        held = {host: [r for r in observed if r.host == host] for host in runtimes}
        return tuple(
            HostObserved(
                host=host,
                pid=None,
                runtime=runtimes[host],
                memory_bytes=sum(r.memory_bytes + self.grown_bytes.get(r.model, 0) for r in members),
            )
            for host, members in held.items()
        )

    async def apply(self, actions: Sequence[Action]) -> None:
        if not self.reachable:
            raise UnavailableError("the fake backend is unreachable: set reachable")
        for action in actions:
            self.actions.append(action)
            if isinstance(action, StartReplica):
                self._start(action.spec)
            elif isinstance(action, StopReplica):
                self._stop(action)
            elif isinstance(action, PublishModel):
                self.routes[action.route.model] = action.route
            elif isinstance(action, HoldWarm):
                self._hold(action)
            elif isinstance(action, ReleaseWarm):
                self.warm.pop(action.model, None)
            elif isinstance(action, TakeForm):
                if (replica := self._replicas.get(action.replica_id)) is not None:
                    replica.spec = replace(replica.spec, form=action.form)
            else:
                self.routes.pop(action.model, None)

    async def events(self) -> AsyncIterator[Event]:
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.remove(queue)

    def emit(self, event: Event) -> None:
        """Push an event to everybody who listens."""
        for queue in self._listeners:
            queue.put_nowait(event)

    def kill_host(self, host: str, culprit: str = "") -> None:
        """End a process that replicas share. All start again, the one that was executing in a process of its own."""
        for each in [each for each in self._replicas.values() if each.spec.host == host]:
            self.kill(each.spec.replica_id)
            if each.spec.replica_id == culprit:
                each.culprit, each.spec = True, replace(each.spec, host="")

    def kill(self, replica_id: str, why: str = "signal 9") -> None:
        """End one replica; like every backend this one starts it again, and it loads anew."""
        replica, now_s = self._replicas[replica_id], self._clock.now_s()
        replica.pid, replica.started_at_s = next(self._pids), now_s
        replica.load = self._model_of(replica.spec.model).load  # what it read a moment ago is in memory still
        replica.restarts += 1
        replica.last_exit, replica.last_exit_at_s = why, now_s
        self.emit(Event(kind=EventKind.REPLICA, model=replica.spec.model, replica_id=replica_id, detail=why))

    def _start(self, spec: ReplicaSpec) -> None:
        existing = self._replicas.get(spec.replica_id)
        if existing is None or existing.stopped_at_s is not None:
            now_s = self._clock.now_s()
            load = self._load_of(spec, now_s)
            self._replicas[spec.replica_id] = _Replica(spec=spec, pid=next(self._pids), started_at_s=now_s, load=load)
            self._changed(spec, "starting")

    def _stop(self, action: StopReplica) -> None:
        replica, now_s = self._replicas.get(action.replica_id), self._clock.now_s()
        if replica is None:
            return
        gone_at_s = now_s + min(action.drain_s, self._model_of(replica.spec.model).drain_s)
        replica.stopped_at_s = replica.stopped_at_s or now_s
        replica.gone_at_s = gone_at_s if replica.gone_at_s is None else min(replica.gone_at_s, gone_at_s)
        self._changed(replica.spec, "draining")
        self._forget_gone(now_s)

    def _load_of(self, spec: ReplicaSpec, now_s: float) -> LoadTime:
        model, held = self._model_of(spec.model), self.warm.get(spec.model)
        others = [r for r in self._replicas.values() if (r.spec.model, r.spec.version) == (spec.model, spec.version)]
        used = any(now_s >= each.started_at_s + each.load.total_s for each in others)
        warm = used or (held is not None and held.version == spec.version)
        return model.load if warm or model.load_cold is None else model.load_cold

    def _hold(self, action: HoldWarm) -> None:
        held = self.warm.get(action.model)
        if held is None or (held.version, held.path) != (action.version, action.path):
            self.warm[action.model] = WarmObserved(
                model=action.model,
                version=action.version,
                bytes=self._model_of(action.model).files_bytes,
                since_s=self._clock.now_s(),
                path=action.path,
            )

    def _changed(self, spec: ReplicaSpec, detail: str) -> None:
        self.emit(Event(kind=EventKind.REPLICA, model=spec.model, replica_id=spec.replica_id, detail=detail))

    def _forget_gone(self, now_s: float) -> None:
        self._replicas = {
            key: each for key, each in self._replicas.items() if each.gone_at_s is None or each.gone_at_s > now_s
        }

    def _model_of(self, model: str) -> FakeModel:
        return self.models.get(model, FakeModel())

    def _observed(self, replica: _Replica, now_s: float) -> ReplicaObserved:
        model, spec, load = self._model_of(replica.spec.model), replica.spec, replica.load
        connected_s = replica.started_at_s + load.start_s
        loaded_s = replica.started_at_s + load.total_s
        base = ReplicaObserved(
            replica_id=spec.replica_id,
            model=spec.model,
            version=spec.version,
            state=ReplicaState.STARTING,
            pid=replica.pid,
            since_s=replica.started_at_s,
            started_at_s=replica.started_at_s,
            restarts=replica.restarts,
            last_exit=replica.last_exit,
            last_exit_at_s=replica.last_exit_at_s,
            form=spec.form.key if spec.form is not None else "",
            host=spec.host,
            culprit=replica.culprit,
            replaces=spec.replaces,
        )
        if replica.stopped_at_s is not None:
            return replace(base, state=ReplicaState.DRAINING, since_s=replica.stopped_at_s)
        if now_s < connected_s:
            return base
        if now_s < loaded_s:
            return replace(base, state=ReplicaState.LOADING, since_s=connected_s)
        if model.fails is not None:
            failed = replace(base, state=ReplicaState.FAILED, since_s=loaded_s, pid=None)
            return replace(failed, restarts=replica.restarts + 1, last_exit=model.fails, last_exit_at_s=loaded_s)
        return replace(
            base,
            state=ReplicaState.READY,
            since_s=loaded_s,
            ready_at_s=loaded_s,
            load=load,
            memory_bytes=model.memory_bytes,
            peak_bytes=model.memory_bytes,
            mapped_bytes=model.mapped_bytes,
        )
