"""Many small models through the real controller: who shares a process, and who must not any more."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sizewise.core.fleet import ReplicaState, ScalingPolicy
from sizewise.core.sharing import OWN_PROCESSES
from sizewise.core.units import MIB
from sizewise.protocols.backend import ReplicaObserved, StartReplica
from tests.scenarios.world import Weight, World

SMALL = Weight(memory_bytes=2 * MIB, load_s=0.002, call_s=0.0005)
KEPT = ScalingPolicy(min_replicas=1)
COUNT = OWN_PROCESSES + 10
GUILTY = "m007"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """All models are there and share processes."""
    made = World(tmp_path)
    await made.controller.open()
    for i in range(COUNT):
        await made.deploy(f"m{i:03}", "small", SMALL, policy=KEPT)
    await settle(made)
    yield made
    made.state.close()


async def settle(world: World) -> None:
    """Until nobody starts, moves or leaves."""
    calm = 0
    for _ in range(200):
        calm = 0 if await world.tick() else calm + 1
        if calm > 4:
            return
    raise AssertionError("somebody moves for ever")


async def by_model(world: World) -> dict[str, ReplicaObserved]:
    replicas = (await world.backend.observe()).replicas
    assert len(replicas) == COUNT, "one each, also after a move"
    assert {r.state for r in replicas} == {ReplicaState.READY}
    return {r.model: r for r in replicas}


async def alone(world: World) -> set[str]:
    return {name for name, replica in (await by_model(world)).items() if not replica.host}


async def test_all_share_and_say_why(world: World) -> None:
    assert await alone(world) == set()
    hosts = {replica.host for replica in (await by_model(world)).values()}
    assert len(hosts) == 4, "one for each core"
    assert {reason.code for reason in world.controller.company.reasons.values()} == {"many"}


async def test_who_brings_a_process_down_stays_alone_until_it_is_deployed_again(world: World) -> None:
    guilty = (await by_model(world))[GUILTY]
    world.backend.kill_host(guilty.host, culprit=guilty.replica_id)
    await settle(world)
    assert await alone(world) == {GUILTY}
    record = world.controller.registry.get(GUILTY)
    assert record.alone == "its host ended while it executed (signal 9)"
    assert world.controller.company.reasons[GUILTY].code == "alone"
    again = world.new_controller()
    await again.open()
    await settle(world)
    assert await alone(world) == {GUILTY}, "a new controller knows"
    assert again.registry.get(GUILTY).alone == record.alone
    await world.deploy(GUILTY, "small", policy=KEPT)
    await settle(world)
    assert await alone(world) == set()
    assert again.registry.get(GUILTY).alone is None, "what was forgiven is not found again in the same death"


async def test_halving_leaves_alone_who_grows_and_nobody_else(world: World) -> None:
    company = {name for name, r in (await by_model(world)).items() if r.host == (await by_model(world))[GUILTY].host}
    assert len(company) > 16, "several rounds"
    world.backend.grown_bytes[GUILTY] = 400 * MIB
    await settle(world)
    assert await alone(world) == {GUILTY}
    assert [r.name for r in world.controller.registry if r.alone is not None] == [GUILTY]
    assert "halved to find which one grows" in (world.controller.registry.get(GUILTY).alone or "")
    rounds = {a.spec.host for a in world.backend.actions if isinstance(a, StartReplica) and a.spec.model == GUILTY}
    assert len(rounds) >= 5
