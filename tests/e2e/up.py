"""The product as a user starts it: ``sizewise up`` in processes of its own, and what tests ask of it."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

UNTIL_S = 120.0
RUN_S = 110.0
SERVING = "\nserving: {port: 0, admin_port: 0}\n"


class System:
    """One running system, its addresses, and what it says about itself."""

    def __init__(self, state_dir: Path, started: dict[str, Any]) -> None:
        self.state_dir = state_dir
        self.started = started
        self.url: str = started["data_url"]
        self.admin_url: str = started["admin_url"]
        self.token = (state_dir / "admin-token").read_text().strip()
        self.http = httpx.Client(base_url=self.url, timeout=30)
        self.admin = httpx.Client(
            base_url=self.admin_url, timeout=30, headers={"Authorization": f"Bearer {self.token}"}
        )

    @property
    def address(self) -> str:
        """Host and port of the data port."""
        return urlsplit(self.url).netloc

    def status(self) -> dict[str, Any]:
        found = self.admin.get("/api/v1/status")
        assert found.status_code == 200, found.text
        answer: dict[str, Any] = found.json()
        return answer

    def model(self, name: str) -> dict[str, Any]:
        found = self.admin.get(f"/api/v1/models/{name}")
        assert found.status_code == 200, found.text
        answer: dict[str, Any] = found.json()
        return answer

    def processes(self, role: str, model: str | None = None) -> list[dict[str, Any]]:
        listed = self.status()["processes"]
        return [each for each in listed if each["role"] == role and model in {None, each["model"]}]

    def pid(self, role: str, model: str | None = None) -> int:
        (process,) = self.processes(role, model)
        return int(process["pid"])

    def until(self, name: str, wanted: Callable[[dict[str, Any]], Any], *, within_s: float = UNTIL_S) -> dict[str, Any]:
        """The model's status once it is as ``wanted``; the admin API has nothing to wait on, so it is asked again."""
        end_s = time.monotonic() + within_s
        while not wanted(seen := self.model(name)):
            if time.monotonic() > end_s:
                log = (self.state_dir / "logs" / "keeper.log").read_text()[-2000:]
                raise AssertionError(f"not within {within_s:g} s; last seen: {seen}\n{log}")
            time.sleep(0.1)
        return seen

    def connect(self, *, timeout_s: float = 20.0) -> socket.socket:
        """A bare connection to the data port."""
        parts = urlsplit(self.url)
        return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=timeout_s)

    def close(self) -> None:
        self.http.close()
        self.admin.close()


def sizewise(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """One command, run to its end, without the variables of whoever runs the tests."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIZEWISE_")}
    return subprocess.run(
        [sys.executable, "-m", "sizewise", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_S,
    )


@contextlib.contextmanager
def up(spec: str, folder: Path, *options: str | Path, serving: str = SERVING) -> Iterator[System]:
    """``spec`` (its ``models:`` and whatever else) over the files in ``folder``, until the block ends."""
    (folder / "sizewise.yaml").write_text(spec + serving)
    # Short, as a socket's path has at most 107 bytes
    state_dir = Path(tempfile.mkdtemp(prefix="sizewise-"))
    system = None
    try:
        run = sizewise("up", folder / "sizewise.yaml", "--state-dir", state_dir, "--detach", "-o", "json", *options)
        assert run.returncode == 0, run.stderr + run.stdout
        system = System(state_dir, json.loads(run.stdout))
        yield system
    finally:
        if system is not None:
            system.close()
        down = sizewise("down", "--state-dir", state_dir)
        left = living(state_dir)
        for process in left:
            process.kill()
        shutil.rmtree(state_dir, ignore_errors=True)
    assert down.returncode == 0, down.stderr
    assert not left, f"left behind: {left}"


def living(state_dir: Path) -> list[psutil.Process]:
    """Every process that names this state directory."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(state_dir) in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
