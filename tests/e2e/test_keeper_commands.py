"""Servers the user brings: a free port, readiness, memory of the whole tree, and an end with nothing left."""

import signal
import textwrap
from pathlib import Path

import psutil
import pytest

from sizewise.backends.local.processes import Process
from sizewise.core.fleet import ReplicaState
from sizewise.protocols.backend import ReplicaObserved, StopReplica
from tests.e2e.plane import Plane, by_id, command, publish

SERVER = """
    import http.server, os, sys, time

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.path == "/healthz"
            self.send_response(200 if known else 404)
            body = f"{os.getcwd()} {os.environ.get('COLOR')}".encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    def serve(port):
        http.server.HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


def program(folder: Path, text: str) -> str:
    path = folder / "server.py"
    path.write_text(textwrap.dedent(SERVER) + textwrap.dedent(text))
    return str(path)


async def failed(plane: Plane, replica_id: str) -> ReplicaObserved:
    seen = await plane.until(lambda seen: by_id(seen)[replica_id].state is ReplicaState.FAILED)
    return by_id(seen)[replica_id]


async def test_starts_where_and_how_it_is_told(tmp_path: Path) -> None:
    path = program(tmp_path, "serve(sys.argv[1].removeprefix('port='))")
    async with Plane() as plane:
        folder = tmp_path / "here"
        folder.mkdir()
        start = command("l-1", path, "port={port}", cwd=str(folder), env=(("COLOR", "mauve"),), ready_path="/healthz")
        await plane.backend.apply([publish("legacy", runtime="command"), start])
        ready = (await plane.ready("l-1"))["l-1"]
        assert ready.port
        assert ready.load is not None
        assert ready.load.load_s > 0
        process = psutil.Process(ready.pid)
        assert process.cwd() == str(folder)
        assert process.environ()["COLOR"] == "mauve"


async def test_one_that_does_not_become_ready_is_ended(tmp_path: Path) -> None:
    path = program(tmp_path, "serve(sys.argv[1])")
    async with Plane() as plane:
        # A busy machine needs longer until the program listens at all, and says that until then
        said: list[str | None] = []
        for timeout_s in (0.5, 5, 50):
            name = f"l-{timeout_s}"
            start = command(name, path, "{port}", ready_path="/missing", ready_timeout_s=timeout_s)
            await plane.backend.apply([start])
            replica = await failed(plane, name)
            assert replica.pid is None
            said.append(replica.last_exit)
            wanted = f"GET /missing answered 404 for {timeout_s} s: correct ready.path or raise ready.timeout_s"
            if replica.last_exit == wanted:
                return
        pytest.fail(f"what ready.path answers was never said: {said}")


async def test_one_that_ends_names_its_last_line(tmp_path: Path) -> None:
    path = program(tmp_path, "print('starting'); sys.exit('no such table: users')")
    async with Plane() as plane:
        await plane.backend.apply([command("l-1", path)])
        seen = await plane.until(lambda seen: by_id(seen)["l-1"].restarts > 0)
        assert by_id(seen)["l-1"].last_exit == "exit 1: no such table: users"


async def test_a_program_that_does_not_exist(tmp_path: Path) -> None:
    async with Plane() as plane:
        await plane.backend.apply([command("l-1", "-V", cwd=str(tmp_path / "nowhere"))])
        replica = await failed(plane, "l-1")
        assert replica.last_exit
        assert "No such file or directory: correct command or cwd" in replica.last_exit


async def test_workers_are_weighed_and_ended_with_it(tmp_path: Path) -> None:
    # The worker leaves the group and ignores SIGTERM: it goes all the same
    text = """
        if os.fork() == 0:
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.setpgid(0, 0)
            ballast = bytearray(os.urandom(1)) * (64 * 1024 * 1024)
            with open(sys.argv[2] + ".part", "w") as file:
                file.write(str(os.getpid()))
            os.rename(sys.argv[2] + ".part", sys.argv[2])
            time.sleep(600)
        while not os.path.exists(sys.argv[2]):
            time.sleep(0.01)
        serve(sys.argv[1])
    """
    path, told = program(tmp_path, text), tmp_path / "worker"
    async with Plane() as plane:
        await plane.backend.apply([command("l-1", path, "{port}", str(told), ready_path="/healthz")])
        await plane.ready("l-1")
        worker = Process(int(told.read_text()))
        seen = await plane.backend.observe()
        assert by_id(seen)["l-1"].memory_bytes > 64 * 1024 * 1024
        await plane.backend.apply([StopReplica(replica_id="l-1", drain_s=1.0)])
        await plane.until(lambda seen: not seen.replicas)
        assert await worker.ended_within(5)


async def test_a_server_that_dies_is_started_again_and_its_workers_go(tmp_path: Path) -> None:
    text = """
        if os.fork() == 0:
            time.sleep(600)
        serve(sys.argv[1])
    """
    path = program(tmp_path, text)
    async with Plane() as plane:
        await plane.backend.apply([command("l-1", path, "{port}", ready_path="/healthz")])
        first = (await plane.ready("l-1"))["l-1"]
        worker = Process(psutil.Process(first.pid).children()[0].pid)
        leader = Process(first.pid or 0)
        leader.send(signal.SIGKILL)
        second = await plane.reborn("l-1", first.pid)
        assert second.last_exit == "signal 9"
        assert await worker.ended_within(5)
