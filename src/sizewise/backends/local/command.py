"""A server the user brings: any program that speaks HTTP on the port it is given."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sizewise.backends.local import procfs
from sizewise.backends.local.logs import last_line
from sizewise.backends.local.probe import counts_as_ready, get_status
from sizewise.backends.local.processes import Process, spawn
from sizewise.backends.local.waiting import first_of
from sizewise.backends.local.warm import Folders
from sizewise.core.profiles import LoadTime
from sizewise.protocols.backend import CommandSpec, ReplicaSpec
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.serde import dumps, loads

FIRST_PROBE_S = 0.02
SLOWEST_PROBE_S = 0.25
TIGHTEN_GRACE_S = 0.5
OOM_SCORE = 500
"""As replicas of ours set for themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """``c-ID.json`` in the run folder: how a later keeper finds the server and knows that it is the same one."""

    replica_id: str
    model: str
    version: str
    pid: int
    start_ticks: int
    """From ``/proc/PID/stat``; a process that got the same pid later has another one."""
    port: int


def record_path(run_dir: Path, replica_id: str) -> Path:
    return run_dir / f"c-{replica_id}.json"


def free_port() -> int:
    """A port that nobody held a moment ago; the kernel does not give it out again at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class CommandBody:
    """Leader of a session and process group of its own; everything in that group and below it goes with it."""

    stage = ""
    settled = True
    blameless = False

    def __init__(self, spec: ReplicaSpec, process: Process, *, record: CommandRecord, folders: Folders) -> None:
        self.process = process
        self.port: int | None = record.port
        self.start_s: float | None = None
        """From the order to the running process; None when an earlier keeper started it."""
        self.log_from = 0
        """Where its output begins in a log that others wrote before."""
        self._spec = spec
        self._record = record
        self._path = record_path(folders.run_dir, record.replica_id)
        self._log = folders.log_of(record.model)

    @classmethod
    def start(cls, spec: ReplicaSpec, folders: Folders) -> "CommandBody":
        """Raises UnavailableError when the program cannot be started."""
        command, ordered_s = spec.command or CommandSpec(argv=()), time.monotonic()
        port, log = free_port(), folders.log_of(spec.model)
        log_from = log.stat().st_size if log.exists() else 0
        argv = [word.replace("{port}", str(port)) for word in command.argv]
        try:
            process = spawn(argv, log=log, cwd=command.cwd, env=dict(command.env))
        except (OSError, IndexError) as error:
            reason = getattr(error, "strerror", None) or "no program given"
            raise UnavailableError(f"cannot start {' '.join(argv)!r}: {reason}: correct command or cwd") from error
        procfs.prefer_in_oom(process.pid, OOM_SCORE)
        record = CommandRecord(
            replica_id=spec.replica_id,
            model=spec.model,
            version=spec.version,
            pid=process.pid,
            start_ticks=procfs.start_ticks(process.pid) or 0,
            port=port,
        )
        record_path(folders.run_dir, spec.replica_id).write_bytes(dumps(record))
        body = cls(spec, process, record=record, folders=folders)
        body.log_from, body.start_s = log_from, time.monotonic() - ordered_s
        return body

    @classmethod
    def adopt(cls, spec: ReplicaSpec, folders: Folders) -> "CommandBody | None":
        """The server an earlier keeper started for this id, if it is still the same process."""
        path = record_path(folders.run_dir, spec.replica_id)
        try:
            record = loads(CommandRecord, path.read_bytes())
        except (OSError, ValueError):
            return None
        with contextlib.suppress(ProcessLookupError):
            process = Process(record.pid)
            # Only now that the pidfd holds it: a pid that somebody else got must never be signalled
            if procfs.start_ticks(record.pid) == record.start_ticks:
                return cls(spec, process, record=record, folders=folders)
            process.forget()
        end_leftovers(record)
        path.unlink(missing_ok=True)
        return None

    @property
    def pid(self) -> int | None:
        return self.process.pid

    @property
    def route(self) -> dict[str, Any]:
        return {"port": self.port}

    async def make_ready(self) -> LoadTime | None:
        """Wait for the ready path; the time since its start is what loading took, unknown after adoption."""
        command, began_s = self._spec.command or CommandSpec(argv=()), time.monotonic()
        path, limit_s = command.ready_path, command.ready_timeout_s
        status: int | None = None
        pause_s = FIRST_PROBE_S
        while time.monotonic() - began_s < limit_s:
            status = await get_status(self.port or 0, path)
            if status is not None and counts_as_ready(path, status):
                return (
                    None if self.start_s is None else LoadTime(start_s=self.start_s, load_s=time.monotonic() - began_s)
                )
            await first_of(self.process.exited.wait(), asyncio.sleep(pause_s))
            if self.process.exited.is_set():
                raise UnavailableError("ended before it was ready")
            pause_s = min(pause_s * 1.5, SLOWEST_PROBE_S)
        got = "gave no answer" if status is None else f"answered {status}"
        raise UnavailableError(f"GET {path} {got} for {limit_s:g} s: correct ready.path or raise ready.timeout_s")

    async def until_settled(self) -> None:
        """It is what it is."""

    async def stop(self, grace_s: float) -> None:
        """SIGTERM to the group, SIGKILL to whatever is left of it and of its descendants after ``grace_s``."""
        tree = tuple((pid, procfs.start_ticks(pid)) for pid in procfs.process_tree(self.process.pid))
        if not self.process.exited.is_set():
            if procfs.start_ticks(self.process.pid) == self._record.start_ticks:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGTERM)
            await self.process.ended_within(max(grace_s, TIGHTEN_GRACE_S) if grace_s > 0 else 0)
        self.process.kill()
        await self.process.exited.wait()
        for pid, ticks in tree:
            end_same(pid, ticks)
        end_leftovers(self._record)
        self._path.unlink(missing_ok=True)

    async def exit_words(self) -> str | None:
        """With the last line of its log, which usually names the reason."""
        words = self.process.status
        if words is None or not words.startswith("exit"):
            return words
        line = await asyncio.to_thread(last_line, self._log, since_bytes=self.log_from)
        return f"{words}: {line[:200]}" if line else words


def end_same(pid: int, ticks: int | None) -> None:
    """SIGKILL a process if it is the one that started then."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            if ticks is not None and procfs.start_ticks(pid) == ticks:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)


def end_leftovers(record: CommandRecord) -> None:
    """SIGKILL what is left of the group after its leader has gone.

    The kernel does not give out a pid while a group has it as its number, so a group without a leader of another
    start is ours as long as its members are not older than the leader was.
    """
    leader = procfs.start_ticks(record.pid)
    if leader is not None and leader != record.start_ticks:
        return
    for pid in procfs.group_members(record.pid):
        ticks = procfs.start_ticks(pid)
        if ticks is not None and ticks >= record.start_ticks:
            end_same(pid, ticks)
