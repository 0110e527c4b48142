"""The keeper with real gateways and replicas: what it starts, restarts and ends."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sizewise.backends.local import backoff
from sizewise.backends.local.launch import Hello, KeeperOptions, connect_keeper, ensure_keeper, stop_everything
from sizewise.backends.local.processes import Process
from sizewise.core.fleet import ReplicaState
from sizewise.protocols.backend import Action, StartReplica, StopReplica, WithdrawModel
from sizewise.protocols.control import make_run_dir, run_dir
from sizewise.protocols.errors import UnavailableError
from tests.e2e.plane import Plane, by_id, bystander, is_ready, publish

GRACE_S = 0.3


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Short enough for the sockets to be inside it."""
    with tempfile.TemporaryDirectory(prefix="sizewise-") as name:
        yield Path(name)


async def test_begins_and_ends_with_nothing_left() -> None:
    async with Plane() as plane:
        replicas = await plane.serve("m", "m-1", "m-2")
        seen = await plane.until(lambda seen: len(seen.processes) == 6)
        assert sorted(each.role for each in seen.processes) == [
            "controller",
            "gateway",
            "keeper",
            "replica",
            "replica",
            "warm",
        ]
        assert all(each.memory_bytes > 0 for each in seen.processes)
        load = replicas["m-1"].load
        assert load is not None
        assert load.start_s > 0
        assert load.load_s > 0
        assert await stop_everything(plane.state_dir, 2.0)
        assert plane.living() == []
        assert sorted(path.name for path in (plane.state_dir / "run").iterdir()) == ["keeper.lock"]
        assert not await stop_everything(plane.state_dir, 2.0), "there was nothing left to end"


async def test_titles_and_sessions() -> None:
    async with Plane() as plane:
        await plane.serve("m", "m-1")
        seen = await plane.until(lambda seen: not seen.problems)
        titles = {each.role: " ".join(psutil.Process(each.pid).cmdline()) for each in seen.processes}
        for role in ("keeper", "gateway", "warm", "replica"):
            assert titles[role].startswith(f"sizewise {role}")
            assert f"--state-dir {plane.state_dir}" in titles[role]
        assert os.getsid(plane.info.pid) == plane.info.pid, "Ctrl-C in our terminal must not reach it"


async def test_finds_the_keeper_that_lives() -> None:
    async with Plane() as plane:
        assert not plane.info.adopted
        client, info = await ensure_keeper(plane.options)
        client.close()
        assert info.adopted
        assert (info.pid, info.port) == (plane.info.pid, plane.info.port)


async def test_a_long_state_folder_has_its_sockets_elsewhere(tmp_path: Path) -> None:
    state_dir = tmp_path / ("deep" * 30)
    client, _ = await ensure_keeper(KeeperOptions(state_dir=state_dir, port=0))
    try:
        assert not (state_dir / "run" / "keeper.sock").exists()
        assert (run_dir(state_dir) / "keeper.sock").exists()
    finally:
        client.close()
        assert await stop_everything(state_dir, 0.0)
        (run_dir(state_dir) / "keeper.lock").unlink()
        run_dir(state_dir).rmdir()


async def test_a_taken_port_is_one_line(short_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"^port {port} of 127.0.0.1 is taken: choose another port"):
            await ensure_keeper(KeeperOptions(state_dir=short_path, port=port))
    assert not await stop_everything(short_path, 0.0)


async def test_a_second_keeper_names_the_first() -> None:
    async with Plane() as plane:
        second = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "sizewise.backends.local.keeper", "--state-dir", str(plane.state_dir)],
            capture_output=True,
            text=True,
            start_new_session=True,
        )
        assert second.returncode == 1
        assert len(second.stderr.splitlines()) == 1
        assert f'"pid":{plane.info.pid}' in second.stderr


async def test_a_state_folder_nobody_may_write(short_path: Path) -> None:
    (short_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="choose another --state-dir"):
        await ensure_keeper(KeeperOptions(state_dir=short_path / "file" / "state", port=0))


async def test_actions_twice_are_harmless_and_ids_are_kept() -> None:
    async with Plane() as plane:
        first = (await plane.serve("m", "m-1"))["m-1"]
        again = (await plane.serve("m", "m-1"))["m-1"]
        assert (again.pid, again.started_at_s) == (first.pid, first.started_at_s)
        with pytest.raises(UnavailableError, match="runs another spec already"):
            await plane.backend.apply([StartReplica(spec=plane.onnx("other", "m-1"))])
        stop: list[Action] = [StopReplica(replica_id="m-1", drain_s=5.0), WithdrawModel(model="m")]
        await plane.backend.apply(stop)
        await plane.backend.apply(stop)
        await plane.until(lambda seen: not seen.replicas)


async def test_drain_returns_when_they_are_gone() -> None:
    async with Plane() as plane:
        await plane.serve("m", "m-1", "m-2")
        await plane.serve("other", "other-1")
        await plane.backend.drain("m", 5.0)
        assert set(by_id(await plane.backend.observe())) == {"other-1"}


async def test_a_load_that_fails_says_why_and_hurts_nobody() -> None:
    async with Plane() as plane:
        await plane.serve("m", "m-1")
        broken = plane.onnx("broken", "b-1")
        (Path(broken.path) / "model.onnx").write_bytes(b"not a model")
        await plane.backend.apply([publish("broken"), StartReplica(spec=broken)])
        seen = await plane.until(lambda seen: by_id(seen)["b-1"].state is ReplicaState.FAILED)
        failed = by_id(seen)["b-1"]
        assert failed.last_exit
        assert "\n" not in failed.last_exit
        assert failed.pid is None
        assert is_ready(seen, "m-1")
        # It is tried again, later and later
        await plane.until(lambda seen: by_id(seen)["b-1"].restarts >= 3)
        await plane.backend.apply([StopReplica(replica_id="b-1", drain_s=0.0)])
        await plane.until(lambda seen: "b-1" not in by_id(seen))


async def test_a_dead_replica_comes_back_at_once_then_later() -> None:
    async with Plane() as plane:
        first = await plane.serve("m", "m-1", "m-2", "m-3")
        second, gaps_s = {}, []
        for name, replica in first.items():
            await plane.kill(replica.pid or 0)
            born = second[name] = await plane.reborn(name, replica.pid)
            assert (born.restarts, born.last_exit) == (1, "signal 9")
            assert born.last_exit_at_s is not None
            gaps_s.append(born.started_at_s - born.last_exit_at_s)
        assert min(gaps_s) < backoff.FIRST_S
        await plane.kill(second["m-1"].pid or 0)
        third = await plane.reborn("m-1", second["m-1"].pid)
        assert third.restarts == 2
        assert third.last_exit_at_s is not None
        assert third.started_at_s - third.last_exit_at_s >= backoff.FIRST_S


async def test_replicas_outlive_their_warm_parent() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1", "m-2")
        warm = await plane.pid_of("warm")
        await plane.kill(warm)
        after = await plane.ready("m-1", "m-2")
        assert {key: each.pid for key, each in after.items()} == {key: each.pid for key, each in before.items()}
        # A new one is started for the next fork; the death itself is known although its parent has gone
        await plane.kill(before["m-1"].pid or 0)
        reborn = await plane.reborn("m-1", before["m-1"].pid)
        assert reborn.last_exit == "signal 9"
        assert await plane.pid_of("warm") != warm


async def test_sigterm_ends_everything() -> None:
    async with Plane() as plane:
        await plane.serve("m", "m-1")
        await plane.forget_backend()
        keeper = Process(plane.info.pid)
        psutil.Process(plane.info.pid).terminate()
        await asyncio.wait_for(keeper.exited.wait(), 20)
        assert plane.living() == []


async def test_the_lease_ends_with_controller_and_terminal() -> None:
    async with bystander() as controller, bystander() as terminal:
        lease = {"terminal_pid": terminal.pid, "grace_s": GRACE_S}
        hello = Hello(role="controller", pid=controller.pid, lease=lease, gives_lease=True)
        async with Plane(hello=hello) as plane:
            await plane.serve("m", "m-1")
            await plane.forget_backend()
            keeper = Process(plane.info.pid)
            controller.kill()
            await controller.exited.wait()
            assert not await keeper.ended_within(3 * GRACE_S), "the terminal is still there"
            terminal.kill()
            assert await keeper.ended_within(20)
            assert plane.living() == []


async def test_a_detached_controller_ends_the_lease() -> None:
    async with bystander() as controller, bystander() as terminal:
        lease = {"terminal_pid": terminal.pid, "grace_s": GRACE_S}
        hello = Hello(role="controller", pid=controller.pid, lease=lease, gives_lease=True)
        async with Plane(hello=hello) as plane:
            plane.hello = Hello(role="controller", pid=controller.pid, gives_lease=True)
            await plane.new_backend()
            await plane.forget_backend()
            for process in (controller, terminal):
                process.kill()
                await process.exited.wait()
            keeper = Process(plane.info.pid)
            assert not await keeper.ended_within(3 * GRACE_S)
            keeper.forget()


async def test_logs_are_bounded_when_a_process_starts() -> None:
    async with Plane() as plane:
        log = plane.state_dir / "logs" / "m.log"
        with log.open("wb") as file:
            file.truncate(11 * 1024 * 1024)
        await plane.serve("m", "m-1")
        assert log.stat().st_size < 1024 * 1024
        assert log.with_name("m.log.1").stat().st_size == 11 * 1024 * 1024


async def test_a_wrong_operation_is_an_answer() -> None:
    async with Plane() as plane:
        client, _ = await connect_keeper(plane.state_dir)
        with contextlib.closing(client), pytest.raises(UnavailableError, match="'explode' is not an operation"):
            await client.call("explode")


def test_the_run_folder_is_private(short_path: Path) -> None:
    assert make_run_dir(short_path).stat().st_mode & 0o777 == 0o700
