"""The run: rounds over all peers, one server at a time, and the record of what was seen."""

import datetime as dt
import os
import subprocess
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.common import Window, cpu_name, wrk
from benchmarks.serving.bodies import KINDS, Bodies, Body
from benchmarks.serving.environments import Environment, NotInstalledError, environment
from benchmarks.serving.process import FailedError, Server, free_ports, served
from benchmarks.serving.registry import PEERS, Peer, start_of
from benchmarks.serving.summary import Record

EVERY = "every body"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    peers: list[str]
    bodies: list[str]
    connections: list[int]
    seconds: float
    warmup_s: float
    repeats: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One start of one server, and all windows against it."""

    peer: str
    body: str
    repeat: int


def turns_of(plan: Plan) -> list[Turn]:
    """Every peer once for each body, again and again; every second round runs backwards.

    A machine that gets slower over the hour so slows everybody, and no peer always follows the same other.
    """
    found: list[Turn] = []
    for repeat in range(plan.repeats):
        peers = plan.peers if repeat % 2 == 0 else plan.peers[::-1]
        found += [
            Turn(peer=peer, body=body, repeat=repeat) for body in plan.bodies for peer in peers if takes(peer, body)
        ]
    return found


def takes(peer: str, body: str) -> bool:
    return PEERS[peer].binary or not body.endswith("-binary")


def measure(plan: Plan) -> Record:
    """Prints what it does and how long it will go on."""
    run = _Run(plan)
    run.install()
    turns = [turn for turn in turns_of(plan) if turn.peer in run.environments]
    with TemporaryDirectory(prefix="sizewise-serving-") as scratch:
        bodies = Bodies(Path(scratch))
        began_s = time.monotonic()
        for done, turn in enumerate(turns):
            passed_s = time.monotonic() - began_s
            left = f"{passed_s / done * (len(turns) - done) / 60:.0f} min left" if done else ""
            print(
                f"[{done + 1:>{len(str(len(turns)))}}/{len(turns)}] {turn.body:<12} {turn.peer:<13} {left}", flush=True
            )
            run.take(turn, bodies[turn.body])
    return run.record()


class _Run:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.environments: dict[str, Environment] = {}
        self._windows: dict[tuple[str, str, int], list[dict[str, float]]] = defaultdict(list)
        self._failed: dict[str, dict[str, str]] = defaultdict(dict)
        self._starts_s: dict[str, list[float]] = defaultdict(list)
        self._memory_mib: dict[str, list[float]] = defaultdict(list)

    def install(self) -> None:
        for name in self.plan.peers:
            peer = PEERS[name]
            print(f"{name:<13} ", end="", flush=True)
            try:
                found = _environment(peer)
            except NotInstalledError as error:
                self._failed[name][EVERY] = f"not installed: {error}"
                print(self._failed[name][EVERY])
                continue
            self.environments[name] = found
            print(", ".join(f"{package} {number}" for package, number in found.versions.items()))

    def take(self, turn: Turn, body: Body) -> None:
        """Start the server, measure it at every number of connections, end it. A failure is kept, not raised."""
        peer, name = PEERS[turn.peer], turn.peer
        form = peer.form_of(body)
        if form is None:
            return
        with TemporaryDirectory(prefix="sizewise-serving-") as folder:
            port = free_ports()
            start = start_of(peer, self.environments[name], body, port=port, folder=Path(folder))
            try:
                with served(start, f"http://127.0.0.1:{port}{peer.path_of(body)}", body, form) as server:
                    self._starts_s[name].append(round(server.start_s, 2))
                    self._windows_of(server, turn, body, form)
            except FailedError as error:
                self._failed[name][body.name] = str(error)
                print(f"  {error}", flush=True)

    def _windows_of(self, server: Server, turn: Turn, body: Body, form: str) -> None:
        sent = body.forms[form]
        for connections in self.plan.connections:

            def window(seconds: float, connections: int = connections) -> Window:
                pids = server.pids()
                return wrk(
                    server.url, sent.file, connections=connections, seconds=seconds, pids=pids, headers=sent.headers
                )

            if self.plan.warmup_s:
                window(self.plan.warmup_s)
            seen = window(self.plan.seconds)
            figures = {key: round(value, 3) for key, value in asdict(seen).items()}
            figures["requests_per_core_s"] = round(seen.requests_per_core_s, 1)
            self._windows[turn.body, turn.peer, connections].append(figures)
            errors = f", {seen.errors} errors" if seen.errors else ""
            print(f"  {connections:>4} connections {seen.requests_per_s:>9,.0f}/s  p99 {seen.p99_ms:.1f} ms{errors}")
        self._memory_mib[turn.peer].append(round(server.memory_bytes() / 2**20))

    def record(self) -> Record:
        peers = {name: self._peer(name) for name in self.plan.peers}
        rows = [
            {"body": body, "peer": peer, "connections": connections, "windows": windows}
            for (body, peer, connections), windows in self._windows.items()
        ]
        return {
            "benchmark": "serving",
            "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
            "seconds": self.plan.seconds,
            "warmup_s": self.plan.warmup_s,
            "repeats": self.plan.repeats,
            "note": self.plan.note,
            "wrk": _wrk_version(),
            "machine": {"cpu": cpu_name(), "cpus": os.cpu_count(), "memory_bytes": psutil.virtual_memory().total},
            "bodies": {name: KINDS[name] for name in self.plan.bodies},
            "peers": peers,
            "rows": rows,
        }

    def _peer(self, name: str) -> dict[str, Any]:
        peer = PEERS[name]
        found = self.environments.get(name)
        return {
            "processes": peer.processes,
            "good_for": peer.good_for,
            "bound": peer.bound,
            "versions": found.versions if found else {},
            "starts_s": self._starts_s[name],
            "memory_mib": self._memory_mib[name],
            "failed": self._failed[name],
        }


def _environment(peer: Peer) -> Environment:
    if peer.folder is not None:
        return environment(peer.folder, system_python=peer.system_python)
    names = ("sizewise", "numpy", "onnxruntime", "uvloop", "orjson")
    return Environment(python=Path(), versions={"python": python_version(), **{each: version(each) for each in names}})


def _wrk_version() -> str:
    done = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return " ".join((done.stdout + done.stderr).split()[:2])
