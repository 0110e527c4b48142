"""Machines of a simulation: those that a decision names are taken, whatever they have is shared out once."""

import asyncio
from dataclasses import replace

import pytest

from sizewise.core.profiles import ModelProfile
from sizewise.core.units import GIB
from sizewise.simulation.backend import SimulatedBackend
from sizewise.simulation.eyes import Eyes
from sizewise.simulation.machines import SHOWN_AHEAD, Machines
from sizewise.simulation.modelling import inline
from sizewise.simulation.plain import PlainPools
from sizewise.simulation.pools import record_for
from sizewise.simulation.scenario import MachinePool, Metrics
from sizewise.simulation.spread import constant
from sizewise.simulation.world import World
from tests.unit.simulation.building import at, setup

POOL = MachinePool(name="cpu", cpus=4, memory_bytes=4 * GIB, least=2, most=30, provision=constant(30.0))
FIRST, SECOND, THIRD = (f"00-cpu-{i:05}" for i in range(3))


def weighing(memory_bytes: int = GIB, *, device_bytes: int = 0, disk_bytes: int = 0) -> ModelProfile:
    profile = inline(((1, 0.1),), cv=0.0, shape="constant", memory_bytes=memory_bytes).profile
    memory = replace(profile.memory, device_bytes=device_bytes)
    return replace(profile, memory=memory, facts=replace(profile.facts, disk_bytes=disk_bytes))


def placed(ground: Machines, model: int, profile: ModelProfile, *, where: str = "", now_s: float = 0.0) -> str | None:
    machine = ground.place(model, profile, now_s, where=where)
    return machine.name if machine is not None else None


def test_a_replica_starts_where_it_was_decided() -> None:
    ground = Machines((POOL,), seed=1)
    assert placed(ground, 0, weighing()) == FIRST
    assert placed(ground, 0, weighing(), where=SECOND) == SECOND
    assert placed(ground, 0, weighing()) == FIRST, "undecided: the fullest, of equals the first"


def test_a_machine_that_was_decided_on_is_obtained_and_waited_for() -> None:
    ground = Machines((POOL,), seed=1)
    assert placed(ground, 0, weighing(), where=THIRD) is None
    assert ground.next_ready_s(0.0) == 30.0
    assert placed(ground, 0, weighing(), where=THIRD, now_s=29.0) is None
    assert placed(ground, 0, weighing(), where=THIRD, now_s=30.0) == THIRD
    waits = {each.name: each.ready_in_s for each in ground.shown(30.0)}
    assert (waits[FIRST], waits[THIRD], waits["00-cpu-00003"]) == (0.0, 0.0, 30.0)
    assert len(waits) == 3 + SHOWN_AHEAD


def test_what_is_sold_out_is_not_shown_and_not_waited_for() -> None:
    ground = Machines((replace(POOL, stock_outs=((0.0, 100.0),)),), seed=1)
    assert {each.name for each in ground.shown(0.0)} == {FIRST, SECOND}
    assert placed(ground, 0, weighing(), where=THIRD) == FIRST


def test_one_machine_is_no_choice() -> None:
    assert Machines((replace(POOL, least=1, most=1),), seed=1).shown(0.0) == ()


def test_what_waits_for_a_machine_is_expected_after_it() -> None:
    model = inline(((1, 0.1),), cv=0.0, shape="constant", memory_bytes=GIB)
    workload = at(1.0)
    pools = PlainPools([setup(0.1)], record_for(1, workload.end_s))
    world = World([model], pools, ground=Machines((replace(POOL, least=0),), seed=1), workload=workload, seed=1)
    backend = SimulatedBackend(world, Eyes(pools, 1, Metrics(), seed=1), ["a"], told=[model.profile])

    def begins_s() -> float:
        (replica,) = asyncio.run(backend.observe()).replicas
        return replica.started_at_s

    world.order(0, "r", where=FIRST)
    assert begins_s() == 30.0
    world.run_until(10.0)
    assert begins_s() == 30.0
    world.run_until(40.0)
    assert begins_s() == 30.0


@pytest.mark.parametrize(
    ("profile", "fit"),
    [
        pytest.param(weighing(3 * GIB), 1, id="memory"),
        pytest.param(weighing(device_bytes=6 * GIB), 1, id="device memory, of every replica"),
        pytest.param(weighing(disk_bytes=9 * GIB), 4, id="disk, once for all of a model"),
        pytest.param(weighing(disk_bytes=11 * GIB), 0, id="too large a file"),
    ],
)
def test_nothing_is_given_twice(profile: ModelProfile, fit: int) -> None:
    pool = replace(POOL, device_bytes=8 * GIB, disk_bytes=10 * GIB, least=1, most=1)
    ground = Machines((pool,), seed=1)
    found = [ground.place(0, profile, 0.0, where="") for _ in range(fit + 1)]
    assert [each is not None for each in found] == [True] * fit + [False]
    if (first := found[0]) is not None:
        ground.leave(first, 0, profile, now_s=1.0)
        assert ground.place(0, profile, 1.0, where="") is first, "what one gave back"
