"""One system as a user runs it: ``sizewise`` commands on a state folder, and what a test needs to watch them."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from sizewise import api
from sizewise.protocols.errors import SizewiseError

Answer = dict[str, Any]
UNTIL_S = 120.0
LOOK_EVERY_S = 0.1
COMMAND_S = 110.0

HEARING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from sizewise.cli.main import main
main()
"""
"""A shell may have started the tests with SIGINT ignored, which every child inherits."""


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def line(self) -> str:
        """What went wrong, which is one line and no trace."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("sizewise: ")
        assert "Traceback" not in self.err
        return lines[0]


class System:
    """A folder with ``models`` and ``state`` in it. ``with System() as system`` ends what it has left running."""

    def __init__(self) -> None:
        # Short, as a socket's path has at most 107 bytes
        self.folder = Path(tempfile.mkdtemp(prefix="sizewise-"))
        self.models = self.folder / "models"
        self.models.mkdir()
        self.state_dir = self.folder / "state"
        self._children: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.communicate()
        try:
            api.down(self.state_dir, drain_s=0)
        finally:
            left = self.living()
            for each in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            _writable(self.folder)
            shutil.rmtree(self.folder)
        assert not left, f"left behind: {left}"

    def run(self, *args: str | Path | int, state: bool = True, stdin: str | None = None) -> Ran:
        """A command until its end. With ``state``, the state folder is named last."""
        done = subprocess.run(
            self.command(*args, state=state),
            input=stdin or "",
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def ok(self, *args: str | Path | int, state: bool = True) -> Ran:
        ran = self.run(*args, state=state)
        assert ran.code == 0, ran
        return ran

    async def cli(self, *args: str | Path | int) -> Ran:
        """The same while the test's own load goes on."""
        return await asyncio.to_thread(self.run, *args)

    def up(self, *args: str | Path | int) -> Ran:
        """Detached, on ports of its own."""
        return self.ok("up", *(args or (self.models,)), "--detach", "--port", "0", "--admin-port", "0")

    def foreground(self, *args: str | Path | int, **options: Any) -> "subprocess.Popen[str]":
        """``up`` without --detach, in a session of its own; returns once it serves."""
        words = self.command("up", *(args or (self.models,)), "--port", "0", "--admin-port", "0", state=True)
        child = subprocess.Popen(
            [sys.executable, "-c", HEARING, *words[3:]],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        self._children.append(child)
        assert child.stdout is not None
        for line in child.stdout:
            if "sizewise explain" in line or "sizewise down" in line:  # the last of what it has to say
                return child
        raise AssertionError(f"it ended with {child.wait()}: {child.communicate()[1]}")

    def spec(self, models: str, **more: str) -> Path:
        """A spec in the folder: ``models`` as YAML flow, one ``name: {...}`` per line."""
        path = self.folder / "sizewise.yaml"
        lines = ["project: test", "models:" if models else "models: {}"]
        lines += [f"  {line.strip()}" for line in models.strip().splitlines()]
        path.write_text("\n".join([*lines, *(f"{key}: {value}" for key, value in more.items())]) + "\n")
        return path

    @property
    def client(self) -> api.Client:
        return api.connect(state_dir=self.state_dir)

    def status(self) -> Answer:
        with self.client as client:
            return client.status()

    def model(self, name: str) -> Answer:
        return named(self.status(), name)

    def explain(self, name: str, limit: int = 50) -> Answer:
        with self.client as client:
            return client.explain(name, limit)

    @property
    def port(self) -> int:
        return int(self.status()["data_url"].rpartition(":")[2])

    def ask(self, name: str, data: list[float], *, timeout_s: float = 30.0) -> httpx.Response:
        """One row."""
        body = {"inputs": [{"name": "x", "shape": [1, len(data)], "datatype": "FP32", "data": data}]}
        url = f"http://127.0.0.1:{self.port}/v2/models/{name}/infer"
        return httpx.post(url, json=body, timeout=timeout_s, trust_env=False)

    async def until(self, wanted: Callable[[Answer], Any], *, within_s: float = UNTIL_S) -> Answer:
        """The first status that is as ``wanted``."""
        ends_s, seen = time.monotonic() + within_s, {}
        while time.monotonic() < ends_s:
            with contextlib.suppress(SizewiseError):
                seen = await asyncio.to_thread(self.status)
                if wanted(seen):
                    return seen
            await asyncio.sleep(LOOK_EVERY_S)
        raise AssertionError(f"not within {within_s:g} s; last seen: {json.dumps(seen, indent=1)}\n{self.logs()}")

    def stored(self) -> set[str]:
        """What lies in the store, half done or whole."""
        return {path.name for path in (self.state_dir / "store").iterdir()}

    def logs(self) -> str:
        return "\n".join(f"{path.name}:\n{path.read_text()[-2000:]}" for path in self.state_dir.glob("logs/*.log"))

    def pids(self, role: str, model: str | None = None) -> list[int]:
        """Processes as their titles say, which needs no controller."""
        words = ["sizewise", role, *([model] if model else [])]
        return sorted(p.pid for p in self.living() if _title(p)[: len(words)] == words)

    def living(self) -> list[psutil.Process]:
        """Every process that names this folder or was started in it, zombies excluded."""
        mark, found = str(self.folder), []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                here = mark in " ".join(process.cmdline()) or process.cwd().startswith(mark)
                if here and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                    found.append(process)
        return found

    def kill(self, role: str, model: str | None = None) -> int:
        """``kill -9`` of the first such process; its pid, once it has ended."""
        pid = self.pids(role, model)[0]
        process = psutil.Process(pid)
        process.kill()
        # A zombie of this very test, whose child a foreground controller is, has ended as well
        ended(process)
        return pid

    def command(self, *args: str | Path | int, state: bool) -> list[str]:
        where = ["--state-dir", str(self.state_dir)] if state else []
        return [sys.executable, "-m", "sizewise", *map(str, args), *where]


def named(status: Answer, name: str) -> Answer:
    found: Answer = next((model for model in status["models"] if model["name"] == name), {})
    return found


def ready(name: str, count: int = 1) -> Callable[[Answer], bool]:
    return lambda status: bool(found := named(status, name)) and found["replicas"]["ready"] >= count


def replicas(status: Answer, name: str) -> list[int]:
    return sorted(p["pid"] for p in status["processes"] if p["model"] == name and p["role"] in {"replica", "command"})


async def seen_soon(wanted: Callable[[], Any], within_s: float = 30.0) -> None:
    """Wait for something that only looking tells."""
    ends_s = time.monotonic() + within_s
    while not await asyncio.to_thread(wanted):
        assert time.monotonic() < ends_s, f"not within {within_s:g} s"
        await asyncio.sleep(LOOK_EVERY_S / 2)


def ended(process: psutil.Process, within_s: float = 20.0) -> None:
    ends_s = time.monotonic() + within_s
    while time.monotonic() < ends_s:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.01)
    raise AssertionError(f"{process} has not ended within {within_s:g} s")


def interrupt(child: "subprocess.Popen[str]", how: signal.Signals, within_s: float = 30.0) -> str:
    """Signal a foreground ``up``; what it wrote to stderr. Fails unless it ends with exit 0 in time."""
    child.send_signal(how)
    _, err = child.communicate(timeout=within_s)
    assert child.returncode == 0, err
    return err


def _title(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline()).split()
    return []


def _writable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
