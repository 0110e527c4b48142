"""The real controller between two steps: who asks while it sleeps is woken at once, by the same decision."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sizewise.core.fleet import ReplicaState, ScalingPolicy
from sizewise.core.units import GIB, MIB
from tests.scenarios.world import BUDGET, Weight, World

SMALL = Weight(memory_bytes=2 * MIB, load_s=0.002, call_s=0.0005)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.controller.open()
    yield made
    made.state.close()


async def ask(world: World, *names: str) -> None:
    """Requests come for models that sleep."""
    for name in names:
        world.arrive(name, 1, held=1)
        world.controller.waker.ask(name)
    await world.controller.waker.wake()


async def running(world: World) -> list[str]:
    return sorted(r.model for r in (await world.backend.observe()).replicas)


async def test_who_asks_is_woken_without_a_step(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.deploy(name, "small", SMALL)
    await world.tick()
    await ask(world, "a", "b")
    assert await running(world) == ["a", "b"]
    (explained,) = await world.controller.explain("a", 1)
    assert (explained.code, explained.desired) == ("cold_request", 1)
    await ask(world, "a", "c")
    await world.tick(0.1)
    assert await running(world) == ["a", "b", "c"], "nobody is started twice"
    assert [world.controller.cold_starts(name) for name in ("a", "b", "c")] == [1, 1, 1]
    for name in ("a", "b", "c"):
        world.arrive(name, 0)
    await world.ticks(70)
    assert await running(world) == [], "they go as others do"


async def test_what_changed_since_the_last_step_waits_for_the_next(world: World) -> None:
    await world.deploy("a", "small", SMALL, policy=ScalingPolicy(max_replicas=1))
    await world.tick()
    await world.controller.pin("a", 0)
    await world.deploy("b", "small")
    await ask(world, "a", "b", "nobody")
    assert await running(world) == []
    await world.ticks(2)
    assert await running(world) == ["b"]


async def test_room_that_another_must_leave_is_left_to_a_step(tmp_path: Path) -> None:
    world = World(tmp_path, replace(BUDGET, memory_bytes=GIB))
    await world.controller.open()
    for name in ("a", "b"):
        await world.deploy(name, "large", Weight(memory_bytes=600 * MIB, load_s=3.0))
    await world.tick()
    await ask(world, "a")
    world.arrive("a", 0)
    await world.ticks(20)
    assert await world.ready("a") == 1
    await ask(world, "b")
    assert await running(world) == ["a"]
    await world.ticks(2)
    assert len(await world.replicas("b", ReplicaState.LOADING)) == 1
    world.state.close()


async def test_more_than_a_hundred_share_and_wake_into_hosts(world: World) -> None:
    for i in range(130):
        await world.deploy(f"m{i:03}", "small", SMALL)
    await world.tick()
    await ask(world, *(f"m{i:03}" for i in range(110)))
    await world.tick(0.1)
    assert len(await running(world)) == 110
    for i in range(110):
        world.arrive(f"m{i:03}", 1)
    await world.tick(0.1)
    await ask(world, "m120")
    (woken,) = await world.replicas("m120")
    assert woken.host
