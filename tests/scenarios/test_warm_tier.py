"""Files kept in memory without a replica, second by second, by the real controller."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sizewise.core.fleet import ScalingPolicy
from sizewise.core.units import GIB, MIB
from sizewise.protocols.backend import HoldWarm, ReleaseWarm, StartReplica, StopReplica
from tests.scenarios.world import Weight, World

LARGE = Weight(memory_bytes=20 * MIB, load_s=0.1, reload_s=5.0, files_bytes=GIB)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.controller.open()
    yield made
    made.state.close()


async def used_once(world: World, name: str) -> None:
    """Woken, answered, and left alone."""
    world.arrive(name, 1, held=1)
    await world.tick()
    for _ in range(10):
        await world.tick()
        if await world.ready(name):
            world.arrive(name, 0)
            break
    await world.tick()
    assert await world.ready(name) == 1


async def until_idle(world: World, name: str, within: int = 60) -> None:
    for _ in range(within):
        await world.tick()
        if not await world.replicas(name):
            return
    raise AssertionError(f"{name} still has replicas")


async def test_the_process_goes_and_the_files_stay(world: World) -> None:
    record = await world.deploy("large", "large", LARGE)
    await world.tick()
    await used_once(world, "large")
    await until_idle(world, "large")
    held = [action for action in world.backend.actions if isinstance(action, HoldWarm)]
    (order,) = held
    assert (order.version, order.files) == (record.serving.version, record.serving.facts.files)
    stops = [action for action in world.backend.actions if isinstance(action, StopReplica)]
    assert world.backend.actions.index(order) < world.backend.actions.index(stops[0])
    await world.tick()
    status = world.controller.model_status("large")
    assert (status.state, status.warm_bytes, status.memory_bytes) == ("cold", GIB, GIB)
    assert world.controller.status().machine.memory_used_bytes == GIB
    explained = await world.controller.explain("large", 10)
    assert explained[0].code == "held_warm"
    assert any("keep its files in memory" in effect for line in explained for effect in line.effect)
    assert [a for a in world.backend.actions if isinstance(a, HoldWarm)] == held, "said once"


async def test_the_next_load_is_a_warm_one_and_each_is_learned_as_what_it_was(world: World) -> None:
    await world.deploy("large", "large", LARGE)
    await world.tick()
    for round_ in range(3):
        await used_once(world, "large")
        (replica,) = await world.replicas("large")
        assert replica.load is not None
        assert replica.load.total_s == (5.0 if round_ == 0 else 0.1)
        await until_idle(world, "large")
    assert world.controller.model_status("large").figures["load_s"].live == 0.1
    world.clock.advance(1_000_000)
    await world.ticks(3)
    assert world.controller.model_status("large").warm_bytes == 0
    await used_once(world, "large")
    (replica,) = await world.replicas("large")
    assert replica.load is not None
    assert replica.load.total_s == 5.0


async def test_let_go_once_it_is_no_longer_worth_it(world: World) -> None:
    await world.deploy("large", "large", LARGE)
    await world.tick()
    await used_once(world, "large")
    await until_idle(world, "large")
    for _ in range(70):
        await world.tick(60.0)
        if not world.backend.warm:
            break
    assert isinstance(world.backend.actions[-1], ReleaseWarm)
    explained = await world.controller.explain("large", 5)
    assert "warm_released" in {line.code for line in explained}
    await world.tick()
    assert world.controller.model_status("large").warm_bytes == 0
    assert world.controller.model_status("large").memory_bytes == 0


async def test_others_get_the_memory_the_moment_they_need_it(world: World) -> None:
    await world.deploy("large", "large", LARGE)
    await world.deploy("other", "other", Weight(memory_bytes=3500 * MIB, load_s=1.0))
    await world.tick()
    await used_once(world, "large")
    await until_idle(world, "large")
    await world.tick()
    world.arrive("other", 1, held=1)
    actions = await world.tick()
    kinds = [type(action) for action in actions]
    assert kinds.index(ReleaseWarm) < kinds.index(StartReplica), "in one step, the files first"
    explained = await world.controller.explain("large", 3)
    assert explained[0].code == "warm_taken"


async def test_an_undeployed_or_replaced_model_holds_nothing(world: World) -> None:
    for name in ("gone", "changed"):
        await world.deploy(name, name, LARGE)
    await world.tick()
    for name in ("gone", "changed"):
        await used_once(world, name)
        await until_idle(world, name)
    await world.ticks(2)
    assert set(world.backend.warm) == {"gone", "changed"}
    await world.controller.undeploy("gone")
    await world.deploy("changed", "renewed", LARGE)
    for _ in range(120):
        await world.tick()
    versions = {model: held.version for model, held in world.backend.warm.items()}
    assert versions.get("changed") in {None, world.controller.registry.get("changed").serving.version}
    assert "gone" not in versions


async def test_a_controller_that_comes_back_goes_on_holding(world: World) -> None:
    await world.deploy("large", "large", LARGE)
    await world.tick()
    await used_once(world, "large")
    await until_idle(world, "large")
    before = dict(world.backend.warm)
    controller = world.new_controller()
    await controller.open()
    await world.ticks(5)
    assert world.backend.warm == before
    assert controller.model_status("large").warm_bytes > 0


async def test_a_model_that_is_never_let_go_is_never_held(world: World) -> None:
    await world.deploy("large", "large", LARGE, policy=ScalingPolicy(min_replicas=1))
    await world.ticks(40)
    assert not [action for action in world.backend.actions if isinstance(action, HoldWarm)]
