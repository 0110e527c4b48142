"""A small world for scenarios: the real controller, a fake backend, a clock moved by hand, files of a few bytes."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sizewise.controller.controller import Controller
from sizewise.controller.parts import Parts
from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.controller.spec import ModelSpec
from sizewise.controller.state import StateStore
from sizewise.controller.store import LocalStore
from sizewise.controller.view import Budget
from sizewise.core.fleet import ReplicaState, ScalingPolicy
from sizewise.core.histogram import BUCKETS, bucket_of
from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, Memory, ModelFacts, ModelProfile, Source
from sizewise.core.slo import Slo
from sizewise.core.units import GIB, MIB
from sizewise.protocols.backend import Action, ModelTraffic, ReplicaObserved
from sizewise.protocols.errors import ModelFileError, UnavailableError
from sizewise.protocols.fakes import FakeBackend, FakeModel, ManualClock

SLO = Slo(quantile=0.95, latency_s=0.1)
BUDGET = Budget(cpus=4.0, memory_bytes=4 * GIB, disk_bytes=20 * GIB, load_slots=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What a model of this world weighs; written into its file by name."""

    memory_bytes: int = 20 * MIB
    load_s: float = 0.2
    reload_s: float | None = None
    """From disk; None: as ``load_s``."""
    files_bytes: int | None = None
    """What its files are said to take; None: what they take."""
    call_s: float = 0.01
    runtime: str = "onnx"
    source: Source = Source.MEASURED


@dataclass
class FakeWeigher:
    """Weights by the first word of a model's file."""

    weights: dict[str, Weight] = field(default_factory=lambda: {"command": Weight(source=Source.ESTIMATED)})
    measured: list[str] = field(default_factory=list)

    def inspect(self, path: Path) -> ModelFacts:
        if not path.is_file():
            raise ModelFileError(str(path), "does not exist")
        word = path.read_text().split()[0]
        weight = self.weights[word]
        size = weight.files_bytes or path.stat().st_size
        return ModelFacts(
            format=word,
            platform="fake_v1",
            runtime=weight.runtime,
            disk_bytes=size,
            entry=path.name,
            files=(path.name,),
        )

    def profile(self, version: VersionRecord) -> ModelProfile:
        return profile_of(version.facts, self.weights[version.facts.format])

    async def measure(self, record: ModelRecord, memory_bytes: int) -> ModelProfile:
        self.measured.append(record.name)
        word = record.serving.facts.format
        self.weights[word] = replace(self.weights[word], source=Source.MEASURED)
        return self.profile(record.serving)


def profile_of(facts: ModelFacts, weight: Weight) -> ModelProfile:
    return ModelProfile(
        facts=facts,
        load=LoadTime(load_s=weight.load_s),
        load_cold=None if weight.reload_s is None else LoadTime(load_s=weight.reload_s),
        memory=Memory(base_bytes=MIB, resident_bytes=weight.memory_bytes - MIB, peak_bytes=weight.memory_bytes),
        curve=LatencyCurve((BatchPoint(batch=1, p50_s=weight.call_s, p95_s=1.2 * weight.call_s),)),
        source=weight.source,
    )


class World:
    def __init__(self, folder: Path, budget: Budget = BUDGET) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.backend = FakeBackend(self.clock)
        self.weigher = FakeWeigher()
        self.state = StateStore(None)
        self.budget = budget
        self._ids = (f"r{n}" for n in itertools.count(1))
        self.controller = self.new_controller()

    def new_controller(self) -> Controller:
        """As after a restart: the same state and backend."""
        parts = Parts(
            backend=self.backend,
            clock=self.clock,
            state=self.state,
            store=LocalStore(self.folder / "store", margin_bytes=0),
            weigher=self.weigher,
            unix_s=self.clock.now_s,
            new_id=lambda: next(self._ids),
            boot="boot-1",
        )
        self.controller = Controller(parts, self.budget)
        return self.controller

    async def deploy(
        self, name: str, word: str, weight: Weight | None = None, *, policy: ScalingPolicy | None = None
    ) -> ModelRecord:
        """A model whose file holds ``word``; replicas behave as ``weight`` says."""
        if weight is not None:
            self.weigher.weights[word] = weight
        known = self.weigher.weights[word]
        cold = None if known.reload_s is None else LoadTime(load_s=known.reload_s, disk_bytes=known.files_bytes or 1)
        self.backend.models[name] = FakeModel(
            load=LoadTime(load_s=known.load_s),
            load_cold=cold,
            memory_bytes=known.memory_bytes,
            files_bytes=known.files_bytes or 1,
        )
        path = self.folder / f"{name}.fake"
        path.write_text(f"{word} weights of {name}")
        wants = ModelSpec(name=name, uri=str(path), slo=SLO, scaling=policy or ScalingPolicy())
        return await self.controller.deploy(wants, code_allowed=False)

    async def tick(self, seconds: float = 1.0) -> Sequence[Action]:
        """Time passes, then the controller looks."""
        self.clock.advance(seconds)
        try:
            return await self.controller.step()
        except UnavailableError:
            return ()

    async def ticks(self, count: int) -> None:
        for _ in range(count):
            await self.tick()

    def arrive(self, name: str, count: int, *, held: int = 0, latency_s: float = 0.01) -> None:
        """``count`` requests came; all but ``held`` were answered."""
        old = self.backend.traffic.get(name, ModelTraffic(model=name, latency_counts=(0,) * BUCKETS))
        counts = list(old.latency_counts)
        counts[bucket_of(latency_s)] += count - held
        self.backend.traffic[name] = replace(
            old,
            arrivals=old.arrivals + count,
            answered=old.answered + count - held,
            within_slo=old.within_slo + (count - held if latency_s <= SLO.latency_s else 0),
            rows=old.rows + count - held,
            batches=old.batches + count - held,
            answer_s=old.answer_s + (count - held) * latency_s,
            compute_s=old.compute_s + (count - held) * latency_s / 2,
            cold_held=old.cold_held + held,
            held=held,
            queued=held,
            last_arrival_s=self.clock.now_s(),
            latency_counts=tuple(counts),
        )

    async def replicas(self, name: str, state: ReplicaState | None = None) -> list[ReplicaObserved]:
        snapshot = await self.backend.observe()
        return [r for r in snapshot.replicas if r.model == name and state in {None, r.state}]

    async def ready(self, name: str) -> int:
        return len(await self.replicas(name, ReplicaState.READY))
