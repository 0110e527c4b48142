"""``kill -9`` of the controller, and of replicas while none lives, with a whole system under load; and the lease."""

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import onnx
import psutil
import pytest

from sizewise.backends.local.processes import Process
from sizewise.controller.folder import folder_spec
from sizewise.controller.spec import ServingSpec
from sizewise.protocols.serde import dumps
from sizewise.server.run import ControllerSettings
from tests.e2e.plane import doubling
from tests.e2e.steady_load import ROW, Load
from tests.e2e.system import System, named, ready, replicas, seen_soon

AFTER = 60
"""Further answers of each client that must come without an error."""
LEASE_S = 1.0


@pytest.fixture
def system() -> Iterator[System]:
    with System() as made:
        onnx.save(doubling(), str(made.models / "m.onnx"))
        yield made


async def reborn(system: System, dead: int) -> None:
    """Another replica process lives, which the keeper alone can have started."""
    await seen_soon(lambda: [pid for pid in system.pids("replica", "m") if pid != dead])


async def test_no_client_notices_that_controllers_and_replicas_die(system: System) -> None:
    system.up(system.spec("m: {uri: models/m.onnx, scaling: {min_replicas: 1}}"))
    port = system.port
    await system.until(ready("m"))
    async with Load(port, "m") as load:
        first = system.kill("controller")
        await load.more(AFTER)
        for _ in range(2):
            await reborn(system, system.kill("replica", "m"))
            await load.more(AFTER)
        before = system.pids("replica", "m")
        await asyncio.to_thread(system.up)
        await system.until(lambda seen: ready("m")(seen) and replicas(seen, "m") == before)
        second = system.kill("controller")
        await load.more(AFTER)
        await reborn(system, system.kill("replica", "m"))
        await load.more(AFTER)
    assert load.errors == []
    assert first != second
    await asyncio.to_thread(system.up)
    counted = await system.until(lambda seen: named(seen, "m")["requests_total"] >= load.answered)
    assert named(counted, "m")["errors_total"] == 0


async def test_what_is_written_down_survives(system: System) -> None:
    """Counters, live figures and decisions are the next controller's as well, as far as they were kept."""
    system.up(system.spec("m: {uri: models/m.onnx, scaling: {min_replicas: 1}}"))
    await system.until(ready("m"))
    async with Load(system.port, "m") as load:
        await load.more(AFTER)
    decided = system.explain("m")["decisions"]
    assert decided
    system.kill("controller")
    system.up()
    assert [each["at_unix_s"] for each in system.explain("m")["decisions"]][-len(decided) :] == [
        each["at_unix_s"] for each in decided
    ]
    counted = await system.until(lambda seen: named(seen, "m")["requests_total"] >= load.answered)
    assert named(counted, "m")["requests_total"] <= load.answered + load.clients


class Terminal:
    """A terminal with a shell on it that runs a controller, as ``sizewise up`` does."""

    def __init__(self, system: System, settings: ControllerSettings) -> None:
        given = system.folder / "settings.json"
        given.write_bytes(dumps(settings))
        self.said = system.folder / "said.json"
        line = f'"{sys.executable}" -P -m sizewise.cli.daemon < "{given}" > "{self.said}"; read line'
        self._master, slave = pty.openpty()
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", "sh", "-c", line], stdin=slave, stdout=slave, stderr=slave, cwd=system.folder
        )
        os.close(slave)

    async def serving(self) -> None:
        await seen_soon(lambda: self.said.exists() and self.said.read_bytes())

    async def hang_up(self) -> None:
        """Closed as a window is: everything on it gets SIGHUP."""
        os.close(self._master)
        self._shell.send_signal(signal.SIGHUP)
        await asyncio.to_thread(self._shell.wait, 10)

    def close(self) -> None:
        if self._shell.poll() is None:
            self._shell.kill()
            self._shell.wait()
            os.close(self._master)


@contextlib.asynccontextmanager
async def on_a_terminal(system: System, *, detached: bool = False) -> AsyncIterator[Terminal]:
    settings = ControllerSettings(
        state_dir=system.state_dir,
        spec=folder_spec(system.models),
        serving=ServingSpec(port=0, admin_port=0),
        lease_s=LEASE_S,
        detached=detached,
    )
    terminal = Terminal(system, settings)
    try:
        await terminal.serving()
        yield terminal
    finally:
        terminal.close()


async def test_terminal_and_controller_gone(system: System) -> None:
    async with on_a_terminal(system) as terminal:
        async with Load(system.port, "m") as load:
            plane = [Process(pid) for pid in (*system.pids("keeper"), *system.pids("gateway"))]
            system.kill("controller")
            # The terminal lives: somebody may look at it, and come back
            for _ in range(4):
                await load.more(AFTER)
            await asyncio.sleep(2 * LEASE_S)
            assert not any(process.exited.is_set() for process in plane)
        assert load.errors == []
        await terminal.hang_up()
        async with asyncio.timeout(30):
            for process in plane:
                await process.exited.wait()
    assert [each for each in system.living() if each.status() != psutil.STATUS_ZOMBIE] == []


async def test_a_terminal_that_closes_ends_the_controller_and_then_the_rest(system: System) -> None:
    async with on_a_terminal(system) as terminal:
        keeper = Process(system.pids("keeper")[0])
        await terminal.hang_up()
        async with asyncio.timeout(30):
            await keeper.exited.wait()
    assert system.living() == []


async def test_detached_there_is_no_lease(system: System) -> None:
    async with on_a_terminal(system, detached=True) as terminal:
        port = system.port
        assert system.ask("m", ROW).status_code == 200  # without a controller nobody wakes it
        system.kill("controller")
        await terminal.hang_up()
        async with Load(port, "m") as load:
            await asyncio.sleep(3 * LEASE_S)
            await load.more(AFTER)
        assert load.errors == []
    assert system.pids("keeper")


async def test_a_new_controller_takes_the_lease_over(system: System) -> None:
    async with on_a_terminal(system) as terminal:
        port = system.port
        system.kill("controller")
        await asyncio.to_thread(system.up)  # detached: the lease is over
        await terminal.hang_up()
        async with Load(port, "m") as load:
            await asyncio.sleep(2 * LEASE_S)
            system.kill("controller")
            await asyncio.sleep(2 * LEASE_S)
            await load.more(AFTER)
        assert load.errors == []
