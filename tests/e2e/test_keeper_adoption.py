"""A new keeper in place of one that was killed: it takes over what runs and ends what nobody wants."""

import asyncio
import signal

import orjson

from sizewise.backends.local import procfs
from sizewise.backends.local.command import CommandRecord, record_path
from sizewise.backends.local.launch import stop_everything
from sizewise.backends.local.processes import Process
from sizewise.core.fleet import ReplicaState
from sizewise.protocols.backend import StopReplica
from sizewise.protocols.serde import dumps
from tests.e2e.plane import Plane, by_id, bystander, command, publish

SERVER = ("-m", "http.server", "{port}", "--bind", "127.0.0.1")


async def test_everything_keeps_its_pid() -> None:
    async with Plane() as plane:
        replicas = await plane.serve("m", "m-1", "m-2")
        await plane.backend.apply([publish("legacy", runtime="command"), command("l-1", *SERVER)])
        replicas |= await plane.ready("l-1")
        gateway, warm = await plane.pid_of("gateway"), await plane.pid_of("warm")
        keeper, port = plane.info.pid, plane.info.port
        await plane.forget_backend()
        await plane.kill(keeper)
        await plane.new_backend()
        assert plane.info.pid != keeper
        assert plane.info.port == port
        adopted = await plane.ready(*replicas)
        assert {key: each.pid for key, each in adopted.items()} == {key: each.pid for key, each in replicas.items()}
        assert (await plane.pid_of("gateway"), await plane.pid_of("warm")) == (gateway, warm)
        load = adopted["m-1"].load
        assert load is not None, "a replica repeats its report"
        assert load.load_s > 0
        # It is a full keeper: what dies is started again, with the reason told by the warm parent
        await plane.kill(adopted["m-1"].pid or 0)
        assert (await plane.reborn("m-1", adopted["m-1"].pid)).last_exit == "signal 9"
        await plane.kill(adopted["l-1"].pid or 0)
        await plane.reborn("l-1", adopted["l-1"].pid)


async def test_a_living_controller_replaces_its_keeper() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1")
        keeper = plane.info.pid
        await plane.kill(keeper)
        seen = await plane.until(lambda seen: not seen.problems and plane.info.pid != keeper)
        assert by_id(seen)["m-1"].pid == before["m-1"].pid


async def test_without_a_keeper_its_last_word_stands_beside_a_problem() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1")
        await plane.until(lambda seen: not seen.problems)
        keeper = Process(plane.info.pid)
        keeper.send(signal.SIGSTOP)
        try:
            seen = await plane.backend.observe()
            assert by_id(seen)["m-1"].pid == before["m-1"].pid
            assert any(problem.startswith("keeper: ") for problem in seen.problems)
            assert seen.traffic_at_s is not None, "the gateway answers all the same"
        finally:
            keeper.send(signal.SIGCONT)
            keeper.forget()


async def test_keeper_and_gateway_killed_together() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1")
        gateway, keeper = await plane.pid_of("gateway"), plane.info.pid
        await plane.forget_backend()
        await asyncio.gather(plane.kill(keeper), plane.kill(gateway))
        await plane.new_backend()
        after = await plane.ready("m-1")
        assert after["m-1"].pid == before["m-1"].pid
        assert await plane.pid_of("gateway") != gateway
        seen = await plane.until(lambda seen: seen.traffic)
        assert [each.model for each in seen.traffic] == ["m"]


async def test_what_was_draining_goes() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1", "m-2")
        stopped = Process(before["m-2"].pid or 0)
        stopped.send(signal.SIGSTOP)  # it cannot answer STOP before the keeper dies
        await plane.backend.apply([StopReplica(replica_id="m-2", drain_s=5.0)])
        await plane.until(lambda seen: by_id(seen)["m-2"].state is ReplicaState.DRAINING)
        await plane.forget_backend()
        await plane.kill(plane.info.pid)
        stopped.send(signal.SIGCONT)
        await plane.new_backend()
        await plane.until(lambda seen: set(by_id(seen)) == {"m-1"})
        assert await stopped.ended_within(5)


async def test_what_nobody_wants_is_ended() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1")
        await plane.forget_backend()
        await plane.kill(plane.info.pid)
        path = plane.state_dir / "run" / "desired.json"
        path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), "replicas": {}}))
        unwanted = Process(before["m-1"].pid or 0)
        await plane.new_backend()
        assert await unwanted.ended_within(20)
        await plane.until(lambda seen: not seen.replicas)


async def test_an_unreadable_desired_state_ends_replicas_and_serves_on() -> None:
    async with Plane() as plane:
        await plane.serve("m", "m-1")
        await plane.forget_backend()
        await plane.kill(plane.info.pid)
        (plane.state_dir / "run" / "desired.json").write_text("{")
        await plane.new_backend()
        await plane.until(lambda seen: not seen.replicas)
        await plane.serve("m", "m-2")


async def test_a_pid_that_somebody_else_got_is_left_alone() -> None:
    async with Plane() as plane, bystander() as stranger:
        await plane.forget_backend()
        await plane.kill(plane.info.pid)
        ticks = procfs.start_ticks(stranger.pid)
        assert ticks is not None
        record = CommandRecord(
            replica_id="old-1", model="old", version="1", pid=stranger.pid, start_ticks=ticks - 1, port=1
        )
        path = record_path(plane.state_dir / "run", "old-1")
        path.write_bytes(dumps(record))
        await plane.new_backend()
        await plane.until(lambda seen: not seen.replicas)
        assert not path.exists()
        assert not stranger.exited.is_set()


async def test_down_without_controller_and_keeper() -> None:
    async with Plane() as plane:
        await plane.serve("m", "m-1")
        await plane.backend.apply([command("l-1", *SERVER, cwd=str(plane.state_dir))])
        await plane.ready("l-1")
        await plane.forget_backend()
        await plane.kill(plane.info.pid)
        assert len(plane.living()) == 4, "gateway, warm parent, replica and command"
        assert await stop_everything(plane.state_dir, 2.0)
        assert plane.living() == []
        assert sorted(path.name for path in (plane.state_dir / "run").iterdir()) == ["keeper.lock"]


async def test_down_ends_a_keeper_that_hangs() -> None:
    async with Plane() as plane:
        await plane.serve("m", "m-1")
        await plane.forget_backend()
        keeper = Process(plane.info.pid)
        keeper.send(signal.SIGSTOP)
        assert await stop_everything(plane.state_dir, 0.0, patience_s=1.0)
        assert plane.living() == []
