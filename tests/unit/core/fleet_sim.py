"""A fleet on paper: replays rates through the real demand estimate and decision, second by second.

Work is a fluid, loads take exactly their time, a stopped replica is gone a second later. It is a harness for rules,
not a simulator: no latency comes out of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sizewise.core.budget import reserved_bytes
from sizewise.core.decide import decide
from sizewise.core.demand import DemandState, Reading, demand, update
from sizewise.core.fleet import (
    FleetDecision,
    FleetView,
    MachineView,
    ModelDecision,
    ModelView,
    ReplicaState,
    ReplicaView,
    ScalingPolicy,
)
from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, Memory, ModelFacts, ModelProfile, Source
from sizewise.core.slo import Slo
from sizewise.core.units import GIB, MIB

Rate = Callable[[float], float]


def profile(
    *,
    load_s: float = 0.1,
    private: int = 20 * MIB,
    mapped: int = 0,
    service_s: float = 0.01,
    batching: float = 0.3,
    max_batch: int = 8,
    threads: int = 1,
    runtime: str = "onnx",
    source: Source = Source.MEASURED,
) -> ModelProfile:
    """A profile whose batch of b takes service_s x (1 + batching x (b - 1))."""
    sizes = [1 << k for k in range(max_batch.bit_length())]
    points = tuple(
        BatchPoint(
            batch=b, p50_s=service_s * (1 + batching * (b - 1)), p95_s=1.2 * service_s * (1 + batching * (b - 1))
        )
        for b in sizes
    )
    return ModelProfile(
        facts=ModelFacts(format="onnx", platform="onnx_onnxv1", runtime=runtime, disk_bytes=mapped + private),
        load=LoadTime(load_s=load_s),
        memory=Memory(base_bytes=private // 2, resident_bytes=private - private // 2, mapped_bytes=mapped),
        curve=LatencyCurve(points),
        source=source,
        threads=threads,
    )


@dataclass
class SimModel:
    """One model: what it is, what is asked of it, and where it stands."""

    name: str
    rate: Rate
    profile: ModelProfile = field(default_factory=profile)
    slo: Slo | None = field(default_factory=lambda: Slo(0.95, 0.1))
    policy: ScalingPolicy = field(default_factory=ScalingPolicy)
    replicas: list[ReplicaView] = field(default_factory=list)
    arrived: float = 0.0
    queue: float = 0.0
    served: float = 0.0
    last_arrival_s: float | None = None
    seen: DemandState = field(default_factory=DemandState)
    state: Mapping[str, object] = field(default_factory=dict)
    starts: int = 0

    def ready(self) -> list[ReplicaView]:
        return [r for r in self.replicas if r.state is ReplicaState.READY]


class Fleet:
    """Runs models against a machine. ``history`` keeps every decision, ``counts`` the ready replicas."""

    def __init__(self, machine: MachineView, *models: SimModel) -> None:
        self.machine = machine
        self.models = {m.name: m for m in models}
        self.now_s = 1000.0
        self.history: list[FleetDecision] = []
        self.counts: list[dict[str, int]] = []
        self.read = True

    def run(self, seconds: int) -> "Fleet":
        for _ in range(seconds):
            self._pass_a_second()
            self._decide()
        return self

    def view(self) -> FleetView:
        return FleetView(
            now_s=self.now_s,
            machine=self.machine,
            models=tuple(self._view(m) for m in self.models.values()),
            state=self.history[-1].state if self.history else {},
        )

    def reserved(self) -> int:
        return self.machine.overhead_bytes + sum(reserved_bytes(self._view(m)) for m in self.models.values())

    def last(self, name: str) -> ModelDecision:
        return next(m for m in self.history[-1].models if m.name == name)

    def series(self, name: str) -> list[int]:
        return [c[name] for c in self.counts]

    def _view(self, m: SimModel) -> ModelView:
        return ModelView(
            name=m.name,
            version="v1",
            profile=m.profile,
            slo=m.slo,
            policy=m.policy,
            demand=demand(m.seen, self.now_s),
            replicas=tuple(m.replicas),
            state=m.state,
        )

    def _pass_a_second(self) -> None:
        for m in self.models.values():
            before = int(m.arrived)
            m.arrived += m.rate(self.now_s - 1000.0)
            if int(m.arrived) > before:
                m.last_arrival_s = self.now_s + 0.9
            m.queue += int(m.arrived) - before
            top = max(p.batch / p.p50_s for p in m.profile.curve.points)
            worked = min(m.queue, top * len(m.ready()))
            m.queue -= worked
            m.served += worked
        self.now_s += 1.0
        for m in self.models.values():
            m.replicas = [self._aged(r, m) for r in m.replicas if r.state is not ReplicaState.DRAINING]
            if self.read:
                m.seen = update(m.seen, self._reading(m), horizon_s=m.profile.load.total_s + 1)
        self.counts.append({m.name: len(m.ready()) for m in self.models.values()})

    def _aged(self, r: ReplicaView, m: SimModel) -> ReplicaView:
        if r.state is not ReplicaState.READY and self.now_s >= r.ready_at_s:
            r = replace(r, state=ReplicaState.READY, since_s=r.ready_at_s, memory_bytes=m.profile.memory.replica_bytes)
        idle_s = 0.0 if m.last_arrival_s is None else self.now_s - m.last_arrival_s
        return replace(r, idle_s=max(0.0, idle_s))

    def _reading(self, m: SimModel) -> Reading:
        waiting = int(m.queue)
        return Reading(
            at_s=self.now_s,
            arrivals=int(m.arrived),
            answered=int(m.served),
            within_slo=int(m.served),
            rows=int(m.served),
            queued=waiting,
            held=0 if m.ready() else waiting,
            last_arrival_s=m.last_arrival_s,
        )

    def _decide(self) -> None:
        decision = decide(self.view())
        self.history.append(decision)
        for d in decision.models:
            m = self.models[d.name]
            m.state = d.state
            m.replicas = [replace(r, state=ReplicaState.DRAINING) if r.replica_id in d.stop else r for r in m.replicas]
            for _ in range(d.start):
                m.starts += 1
                m.replicas.append(
                    ReplicaView(
                        replica_id=f"{m.name}-{m.starts}",
                        version=d.start_version,
                        state=ReplicaState.LOADING,
                        since_s=self.now_s,
                        ready_at_s=self.now_s + m.profile.load.total_s,
                    )
                )


def machine(*, memory: int = 4 * GIB, cpus: float = 8, overhead: int = 100 * MIB, slots: int = 2) -> MachineView:
    return MachineView(cpus=cpus, memory_bytes=memory, overhead_bytes=overhead, load_slots=slots)


def steps(*parts: tuple[float, float]) -> Rate:
    """(until second, requests/s) pairs; nothing after the last."""
    return lambda t: next((rate for until_s, rate in parts if t < until_s), 0.0)
