"""What every `Backend` promises; the public fake and each real one pass the same suite."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sizewise.core.fleet import ReplicaState
from sizewise.core.profiles import LoadTime
from sizewise.protocols.backend import (
    Backend,
    Event,
    EventKind,
    HoldWarm,
    ModelRoute,
    PublishModel,
    ReleaseWarm,
    ReplicaSpec,
    Snapshot,
    StartReplica,
    StopReplica,
    WithdrawModel,
)
from sizewise.protocols.fakes import FakeBackend, FakeModel, ManualClock
from tests.e2e.plane import Plane, by_id, is_ready

BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A backend under test, what it can run, and how to let time pass for it."""

    backend: Backend
    spec: Callable[[str, str], ReplicaSpec]
    """(model, replica id); the model ``broken`` does not load."""
    until: Callable[[Callable[[Snapshot], Any]], Awaitable[Snapshot]]
    kill: Callable[[str], Awaitable[None]]

    def publish(self, model: str) -> PublishModel:
        return PublishModel(route=ModelRoute(model=model, version="1", platform="onnx_onnxv1", runtime="onnx"))

    async def start(self, model: str, *ids: str) -> Snapshot:
        await self.backend.apply([self.publish(model), *(StartReplica(spec=self.spec(model, each)) for each in ids)])
        return await self.until(lambda seen: all(is_ready(seen, each) for each in ids))


@contextlib.asynccontextmanager
async def fake() -> AsyncIterator[Subject]:
    clock = ManualClock()
    models = {BROKEN: FakeModel(load=LoadTime(load_s=0.2), fails="the file is truncated at 3 of 5 bytes")}
    backend = FakeBackend(clock, models)

    async def until(wanted: Callable[[Snapshot], Any]) -> Snapshot:
        for _ in range(1000):
            if wanted(seen := await backend.observe()):
                return seen
            clock.advance(0.05)
        raise AssertionError(f"never: {await backend.observe()}")

    async def kill(replica_id: str) -> None:
        backend.kill(replica_id)

    def spec(model: str, replica_id: str) -> ReplicaSpec:
        return ReplicaSpec(replica_id=replica_id, model=model, version="1", runtime="onnx")

    yield Subject(backend=backend, spec=spec, until=until, kill=kill)


@contextlib.asynccontextmanager
async def local() -> AsyncIterator[Subject]:
    async with Plane() as plane:

        def spec(model: str, replica_id: str) -> ReplicaSpec:
            found = plane.onnx(model, replica_id)
            if model == BROKEN:
                (Path(found.path) / found.entry).write_bytes(b"not a model")
            return found

        async def kill(replica_id: str) -> None:
            await plane.kill(by_id(await plane.backend.observe())[replica_id].pid or 0)

        yield Subject(backend=plane.backend, spec=spec, until=plane.until, kill=kill)


SUBJECTS = {"fake": fake, "local": local}


@pytest.fixture(params=SUBJECTS)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    async with SUBJECTS[request.param]() as made:
        yield made


async def test_nothing_runs_at_first(subject: Subject) -> None:
    seen = await subject.backend.observe()
    assert (seen.replicas, seen.traffic) == ((), ())


async def test_a_started_replica_becomes_ready(subject: Subject) -> None:
    seen = await subject.start("m", "m-1")
    replica = by_id(seen)["m-1"]
    assert (replica.model, replica.version, replica.restarts, replica.last_exit) == ("m", "1", 0, None)
    assert replica.pid in {each.pid for each in seen.processes if each.role == "replica"}
    assert replica.load is not None
    assert replica.load.total_s > 0
    assert replica.ready_at_s is not None
    assert replica.started_at_s <= replica.ready_at_s == replica.since_s <= seen.at_s


async def test_starting_twice_is_harmless(subject: Subject) -> None:
    before = by_id(await subject.start("m", "m-1"))["m-1"]
    after = by_id(await subject.start("m", "m-1"))["m-1"]
    assert (after.pid, after.started_at_s) == (before.pid, before.started_at_s)


async def test_stopping_ends_it_and_twice_is_harmless(subject: Subject) -> None:
    await subject.start("m", "m-1", "m-2")
    stop = StopReplica(replica_id="m-1", drain_s=1.0)
    await subject.backend.apply([stop, stop])
    seen = await subject.until(lambda seen: set(by_id(seen)) == {"m-2"})
    assert is_ready(seen, "m-2")
    await subject.backend.apply([stop, StopReplica(replica_id="never-was")])


async def test_an_id_that_is_being_stopped_may_be_started_again(subject: Subject) -> None:
    before = by_id(await subject.start("m", "m-1"))["m-1"]
    start = StartReplica(spec=subject.spec("m", "m-1"))
    await subject.backend.apply([StopReplica(replica_id="m-1", drain_s=1.0), start])
    seen = await subject.until(lambda seen: is_ready(seen, "m-1") and by_id(seen)["m-1"].pid != before.pid)
    assert by_id(seen)["m-1"].restarts == 0, "it did not die"


async def test_stopping_before_it_is_ready(subject: Subject) -> None:
    start = StartReplica(spec=subject.spec("m", "m-1"))
    await subject.backend.apply([start, StopReplica(replica_id="m-1", drain_s=0.0)])
    await subject.until(lambda seen: not seen.replicas)


async def test_a_load_that_fails_is_reported_and_hurts_nobody(subject: Subject) -> None:
    await subject.start("m", "m-1")
    await subject.backend.apply([StartReplica(spec=subject.spec(BROKEN, "b-1"))])
    seen = await subject.until(lambda seen: by_id(seen)["b-1"].state is ReplicaState.FAILED)
    failed = by_id(seen)["b-1"]
    assert failed.last_exit
    assert "\n" not in failed.last_exit
    assert failed.ready_at_s is None
    assert is_ready(seen, "m-1")


async def test_a_replica_that_dies_comes_back_under_its_id(subject: Subject) -> None:
    before = by_id(await subject.start("m", "m-1"))["m-1"]
    await subject.kill("m-1")
    seen = await subject.until(lambda seen: is_ready(seen, "m-1") and by_id(seen)["m-1"].pid != before.pid)
    after = by_id(seen)["m-1"]
    assert (after.restarts, after.last_exit) == (1, "signal 9")
    assert after.last_exit_at_s is not None
    assert after.ready_at_s is not None
    assert after.last_exit_at_s <= after.ready_at_s


async def test_published_models_have_traffic_until_withdrawn(subject: Subject) -> None:
    await subject.backend.apply([subject.publish("a"), subject.publish("b"), subject.publish("a")])
    seen = await subject.until(lambda seen: len(seen.traffic) == 2)
    assert {each.model for each in seen.traffic} == {"a", "b"}
    assert all(each.arrivals == 0 for each in seen.traffic)
    assert seen.traffic_at_s is not None
    assert seen.gateway_epoch
    withdraw = WithdrawModel(model="a")
    await subject.backend.apply([withdraw, withdraw, WithdrawModel(model="never-was")])
    await subject.until(lambda seen: [each.model for each in seen.traffic] == ["b"])


async def test_one_apply_is_ordered(subject: Subject) -> None:
    route = subject.publish("m").route
    await subject.backend.apply(
        [WithdrawModel(model="m"), PublishModel(route=route), PublishModel(route=replace(route, version="2"))]
    )
    await subject.until(lambda seen: [each.model for each in seen.traffic] == ["m"])


def held(seen: Snapshot) -> dict[str, tuple[str, bool]]:
    return {each.model: (each.version, each.bytes > 0) for each in seen.warm}


async def test_files_are_held_without_a_replica_until_released(subject: Subject) -> None:
    await subject.start("m", "m-1")
    spec = subject.spec("m", "m-1")
    hold = HoldWarm(model="m", version="1", path=spec.path, files=(spec.entry,))
    await subject.backend.apply([hold, StopReplica(replica_id="m-1", drain_s=1.0), hold])
    assert {each.model for each in (await subject.backend.observe()).warm} == {"m"}, "from the moment it is accepted"
    seen = await subject.until(lambda seen: not seen.replicas and held(seen) == {"m": ("1", True)})
    (first,) = seen.warm
    assert first.since_s <= seen.at_s
    await subject.backend.apply([replace(hold, version="2")])
    await subject.until(lambda seen: held(seen) == {"m": ("2", True)})
    release = ReleaseWarm(model="m")
    await subject.backend.apply([release, release, ReleaseWarm(model="never-was")])
    await subject.until(lambda seen: not seen.warm)


async def test_nothing_to_apply_changes_nothing(subject: Subject) -> None:
    before = by_id(await subject.start("m", "m-1"))
    await subject.backend.apply([])
    after = by_id(await subject.backend.observe())
    assert {key: (each.state, each.pid) for key, each in after.items()} == {
        key: (each.state, each.pid) for key, each in before.items()
    }


async def test_time_goes_forward(subject: Subject) -> None:
    first, second = await subject.backend.observe(), await subject.backend.observe()
    assert first.at_s <= second.at_s


async def test_changes_are_events(subject: Subject) -> None:
    seen: asyncio.Queue[Event] = asyncio.Queue()

    async def listen() -> None:
        async for event in subject.backend.events():
            seen.put_nowait(event)

    listener = asyncio.ensure_future(listen())
    try:
        # A hint to look: one may come before anybody listens, so change something until one arrives
        number = 0
        event: Event | None = None
        while event is None or event.kind is not EventKind.REPLICA:
            number += 1
            await subject.backend.apply([StartReplica(spec=subject.spec("m", f"m-{number}"))])
            with contextlib.suppress(TimeoutError):
                event = await asyncio.wait_for(seen.get(), 1.0)
        assert event.model == "m"
        assert event.replica_id.startswith("m-")
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
