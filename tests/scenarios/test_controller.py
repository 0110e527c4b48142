"""The real controller against a fake backend: what happens, second by second."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from sizewise.controller.records import RolloutState
from sizewise.controller.view import Budget
from sizewise.core.fleet import ReplicaState, ScalingPolicy
from sizewise.core.profiles import LoadTime, Source
from sizewise.core.units import GIB, MIB
from sizewise.protocols.backend import PublishModel, StartReplica, StopReplica, WithdrawModel
from sizewise.protocols.errors import DoesNotFitError, ForbiddenError, NotFoundError
from sizewise.protocols.fakes import FakeModel
from tests.scenarios.world import Weight, World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.controller.open()
    yield made
    made.state.close()


def kinds(actions: object) -> list[str]:
    assert isinstance(actions, tuple)
    return [type(action).__name__ for action in actions]


async def test_deployed_and_cold(world: World) -> None:
    await world.deploy("a", "small", Weight())
    assert kinds(await world.tick()) == ["PublishModel"]
    assert kinds(await world.tick()) == []
    status = world.controller.model_status("a")
    assert (status.state, status.replicas.desired, status.requests_total) == ("cold", 0, 0)
    assert world.backend.routes["a"].refuse is None


async def test_a_cold_request_starts_one_replica(world: World) -> None:
    await world.deploy("a", "small", Weight())
    await world.tick()
    world.arrive("a", 1, held=1)
    actions = await world.tick(0.1)
    (start,) = [action for action in actions if isinstance(action, StartReplica)]
    assert (start.spec.model, start.spec.self_check, start.spec.max_batch) == ("a", False, 1)
    assert world.controller.model_status("a").state == "loading"
    world.arrive("a", 0)
    await world.tick()
    assert world.controller.model_status("a").state == "ready"
    assert world.controller.cold_starts("a") == 1


async def test_idle_goes_in_and_large_models_stay_longer(world: World) -> None:
    await world.deploy("small", "small", Weight(load_s=0.05))
    await world.deploy("large", "large", Weight(load_s=5.0, memory_bytes=GIB))
    await world.tick()
    for name in ("small", "large"):
        world.arrive(name, 1, held=1)
    await world.tick()
    await world.ticks(8)
    for name in ("small", "large"):
        world.arrive(name, 1)
    await world.ticks(25)
    assert await world.ready("small") == 0
    assert await world.ready("large") == 1
    explained = await world.controller.explain("small", 5)
    assert any("stop" in effect for decision in explained for effect in decision.effect)


async def test_restart_adopts_what_runs(world: World) -> None:
    await world.deploy("a", "small", Weight(load_s=5.0))
    await world.tick()
    world.arrive("a", 3, held=1)
    await world.tick()
    await world.ticks(6)
    world.arrive("a", 7)
    await world.ticks(10)
    before = await world.replicas("a")
    again = world.new_controller()
    await again.open()
    actions = await world.tick()
    assert kinds(actions) == ["PublishModel"]
    assert [r.pid for r in await world.replicas("a")] == [r.pid for r in before]
    status = again.model_status("a")
    assert (status.state, status.requests_total) == ("ready", 10)


async def test_totals_survive_a_new_gateway(world: World) -> None:
    await world.deploy("a", "small", Weight())
    await world.tick()
    world.arrive("a", 40)
    await world.tick()
    world.backend.gateway_epoch, world.backend.traffic = "2", {}
    await world.tick()
    world.arrive("a", 2)
    await world.tick()
    assert world.controller.model_status("a").requests_total == 42


async def test_a_new_version_takes_over_when_it_is_ready(world: World) -> None:
    old = await world.deploy("a", "one", Weight(load_s=2.0), policy=ScalingPolicy(min_replicas=1))
    await world.ticks(5)
    new = await world.deploy("a", "two", Weight(load_s=2.0), policy=ScalingPolicy(min_replicas=1))
    assert new.candidate is not None
    (start,) = [a for a in await world.tick() if isinstance(a, StartReplica)]
    assert (start.spec.version, start.spec.self_check) == (new.candidate.version, True)
    assert world.backend.routes["a"].version == old.serving.version
    await world.ticks(5)
    assert world.backend.routes["a"].version == new.candidate.version
    assert {r.version for r in await world.replicas("a")} == {new.candidate.version}
    rollout = await world.controller.wait_settled("a", 1.0)
    assert rollout is not None
    assert rollout.state is RolloutState.SWITCHED
    await world.tick()
    assert len(list((world.folder / "store").iterdir())) == 1, "the old artifact is collected"


async def test_a_new_version_that_does_not_load_is_given_up(world: World) -> None:
    old = await world.deploy("a", "one", Weight(), policy=ScalingPolicy(min_replicas=1))
    await world.ticks(5)
    (serving,) = await world.replicas("a")
    await world.deploy("a", "two", Weight(), policy=ScalingPolicy(min_replicas=1))
    await world.tick()
    candidates = [r for r in await world.replicas("a") if r.version != old.serving.version]
    assert len(candidates) == 1
    world.backend.kill(candidates[0].replica_id, "exit 1: bad graph")
    world.backend.kill(candidates[0].replica_id, "exit 1: bad graph")
    await world.tick(0.05)
    status = world.controller.model_status("a")
    assert status.rollout is not None
    assert (status.rollout.state, status.rollout.detail) == (RolloutState.FAILED, "exit 1: bad graph")
    assert status.version == old.serving.version
    await world.tick()
    assert [r.pid for r in await world.replicas("a", ReplicaState.READY)] == [serving.pid]
    assert {r.version for r in await world.replicas("a")} == {old.serving.version}


@pytest.mark.parametrize("blind", ["gateway", "everything"])
async def test_nothing_stops_on_observations_that_are_missing(world: World, blind: str) -> None:
    await world.deploy("a", "small", Weight(load_s=0.05))
    await world.tick()
    world.arrive("a", 1, held=1)
    await world.tick()
    world.arrive("a", 0)
    await world.ticks(2)
    assert await world.ready("a") == 1
    world.backend.reachable = False
    if blind == "everything":
        world.backend.problems = ("keeper: does not answer",)
    await world.ticks(60)
    world.backend.reachable, world.backend.problems = True, ()
    assert await world.ready("a") == 1
    assert not [a for a in world.backend.actions if isinstance(a, StopReplica)]


async def test_a_crash_loop_is_parked_and_others_go_on(world: World) -> None:
    await world.deploy("bad", "bad", Weight())
    await world.deploy("good", "good", Weight(), policy=ScalingPolicy(min_replicas=1))
    await world.tick()
    world.backend.models["bad"] = FakeModel(load=LoadTime(load_s=0.1), fails="exit 1: no such operator")
    for _ in range(12):
        world.arrive("bad", 1, held=1)
        await world.tick()
    status = world.controller.model_status("bad")
    assert status.state == "failed"
    assert "exit 1: no such operator" in status.reason
    assert "no such operator" in (world.backend.routes["bad"].refuse or "")
    assert not await world.replicas("bad")
    starts = [a for a in world.backend.actions if isinstance(a, StartReplica) and a.spec.model == "bad"]
    assert len(starts) <= 4
    assert await world.ready("good") == 1


async def test_a_parked_model_is_tried_again_and_forgiven(world: World) -> None:
    await world.deploy("a", "small", Weight())
    await world.tick()
    world.backend.models["a"] = FakeModel(load=LoadTime(load_s=0.1), fails="exit 1")
    for _ in range(10):
        world.arrive("a", 1, held=1)
        await world.tick()
    assert world.controller.model_status("a").state == "failed"
    world.backend.models["a"] = FakeModel(load=LoadTime(load_s=0.1))
    for _ in range(60):
        world.arrive("a", 1, held=1)
        await world.tick()
    assert world.controller.model_status("a").state == "ready"
    assert world.backend.routes["a"].refuse is None


async def test_one_accident_of_many_replicas_is_no_crash_loop(world: World) -> None:
    await world.deploy("a", "small", Weight(), policy=ScalingPolicy(min_replicas=4))
    await world.ticks(10)
    for replica in await world.replicas("a"):
        world.backend.kill(replica.replica_id)
    await world.ticks(3)
    assert world.controller.model_status("a").state == "ready"
    assert await world.ready("a") == 4


async def test_a_replica_that_outgrows_its_peak_is_ended(world: World) -> None:
    await world.deploy("a", "small", Weight(memory_bytes=200 * MIB), policy=ScalingPolicy(min_replicas=1))
    await world.ticks(3)
    (leaking,) = await world.replicas("a")
    world.backend.models["a"] = replace(world.backend.models["a"], memory_bytes=301 * MIB)
    actions = await world.tick()
    (stop,) = [a for a in actions if isinstance(a, StopReplica)]
    assert stop.replica_id == leaking.replica_id
    assert "301 MiB" in stop.why
    assert "200 MiB" in stop.why
    assert max(size for _, size in world.controller.ledger.live("a", leaking.version).memory) == 301 * MIB


async def test_undeploy_withdraws_and_stops(world: World) -> None:
    await world.deploy("a", "small", Weight(), policy=ScalingPolicy(min_replicas=1))
    await world.ticks(3)
    await world.controller.undeploy("a")
    actions = await world.tick()
    assert {type(action) for action in actions} == {WithdrawModel, StopReplica}
    await world.ticks(2)
    assert not await world.replicas("a")
    assert not list((world.folder / "store").iterdir())
    with pytest.raises(NotFoundError, match="none is deployed"):
        world.controller.model_status("a")


async def test_what_cannot_fit_is_refused_with_the_numbers(tmp_path: Path) -> None:
    world = World(tmp_path, Budget(cpus=2.0, memory_bytes=GIB, disk_bytes=GIB))
    with pytest.raises(DoesNotFitError, match=r"needs 2\.0 GiB of memory but there is 1\.0 GiB"):
        await world.deploy("a", "large", Weight(memory_bytes=2 * GIB))
    assert not len(world.controller.registry)
    assert not list((tmp_path / "store").iterdir())
    world.state.close()


async def test_code_needs_to_be_allowed(world: World) -> None:
    with pytest.raises(ForbiddenError, match="--allow-code"):
        await world.deploy("a", "code", Weight(runtime="python"))
    assert not list((world.folder / "store").iterdir())


async def test_the_full_profile_waits_for_a_quiet_moment(world: World) -> None:
    await world.deploy("a", "small", Weight(source=Source.ESTIMATED))
    for _ in range(20):
        world.arrive("a", 1)
        await world.tick()
    assert not world.weigher.measured
    await world.ticks(12)
    await world.tick()
    assert world.weigher.measured == ["a"]
    assert world.controller.model_status("a").profile_source == "measured"
    await world.ticks(5)
    assert world.weigher.measured == ["a"]


async def test_the_last_minute_is_shown(world: World) -> None:
    await world.deploy("a", "small", Weight())
    await world.ticks(2)
    world.arrive("a", 90, latency_s=0.01)
    world.arrive("a", 10, latency_s=0.5)
    await world.tick()
    status = world.controller.model_status("a")
    assert status.slo_attainment == pytest.approx(0.9)
    assert status.p95_s == pytest.approx(0.5, rel=0.1)
    await world.ticks(61)
    status = world.controller.model_status("a")
    assert (status.slo_attainment, status.p95_s, status.requests_total) == (None, None, 100)


async def test_routes_are_told_again_only_when_they_change(world: World) -> None:
    await world.deploy("a", "small", Weight(), policy=ScalingPolicy(min_replicas=1))
    await world.ticks(20)
    assert len([a for a in world.backend.actions if isinstance(a, PublishModel)]) == 1
