"""Warm parents: one process per runtime that has imported it and forks replicas."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from sizewise.backends.local.backoff import Backoff
from sizewise.backends.local.logs import bound_log
from sizewise.backends.local.processes import Process, spawn, words_of_status
from sizewise.backends.local.procfs import prefer_in_oom
from sizewise.backends.local.waiting import until_connected
from sizewise.protocols.control import ControlClient, Message
from sizewise.protocols.errors import UnavailableError

log = logging.getLogger(__name__)

START_TIMEOUT_S = 120.0
"""Importing a large framework from a cold disk takes its time."""
FORK_TIMEOUT_S = 10.0
END_GRACE_S = 2.0
MAX_EXITS = 1000
OOM_SCORE = 300
"""Before gateway and keeper, after replicas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    state_dir: Path
    run_dir: Path

    def log_of(self, name: str) -> Path:
        return self.state_dir / "logs" / f"{name}.log"


class WarmParent:
    """The warm parent of one runtime: found or started when needed, and asked to fork."""

    def __init__(self, runtime: str, folders: Folders) -> None:
        self.runtime = runtime
        self.process: Process | None = None
        self.children: dict[str, int] = {}
        """Replicas that it had forked when it was connected to: id to pid."""
        self.hosts: dict[str, int] = {}
        """The same for processes that replicas share."""
        self._folders = folders
        self._client: ControlClient | None = None
        self._lock = asyncio.Lock()
        self._exits: dict[int, str] = {}
        self._told = asyncio.Condition()
        self._listening: asyncio.Task[None] | None = None
        self._backoff = Backoff()
        self._began_s = 0.0

    @property
    def socket_path(self) -> Path:
        return self._folders.run_dir / f"warm-{self.runtime}.sock"

    async def fork(self, replica_id: str, model: str, *, shared: bool = False) -> int:
        """Pid of a new replica process, or of one that replicas share, which is called by its runtime.

        Raises UnavailableError with the reason.
        """
        client = await self._connected()
        log_path = self._folders.log_of(f"host-{model}" if shared else model)
        bound_log(log_path)
        name = {"replica_id": replica_id, "model": model, "shared": shared}
        order = {"op": "fork", **name, "log": str(log_path)}
        answer = await client.request(order, timeout_s=FORK_TIMEOUT_S)
        return int(answer["pid"])

    async def ready(self) -> None:
        """Returns when it has imported its runtime. Raises UnavailableError with the reason."""
        await self._connected()

    async def prepare(self) -> None:
        """Have it ready before the first fork; what fails here shows when it is needed."""
        with contextlib.suppress(UnavailableError, OSError):
            await self.ready()

    async def adopt(self) -> bool:
        """Connect to one that lives already."""
        async with self._lock:
            try:
                client = await ControlClient.connect(self.socket_path)
                process = Process(client.peer_pid)
            except (UnavailableError, ProcessLookupError):
                return False
            await self._meet(process, client)
            return True

    async def exit_words(self, pid: int, *, timeout_s: float) -> str | None:
        """How a replica that this parent forked has ended; None when it does not tell in time."""

        def known() -> bool:
            return pid in self._exits or self._client is None

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._told:
                await self._told.wait_for(known)
        return self._exits.pop(pid, None)

    async def close(self) -> None:
        """End it; its replicas go on."""
        async with self._lock:
            if self._client is not None:
                with contextlib.suppress(UnavailableError):
                    await self._client.call("stop", timeout_s=END_GRACE_S)
                self._client.close()
            if self.process is not None:
                await self.process.end(grace_s=END_GRACE_S)
            if self._listening is not None:
                await asyncio.gather(self._listening, return_exceptions=True)
            self.socket_path.unlink(missing_ok=True)

    async def _connected(self) -> ControlClient:
        async with self._lock:
            if self._client is not None and not self._client.closed.is_set():
                return self._client
            if self.process is not None and not self.process.exited.is_set():
                self.process.kill()  # it has closed its socket: of no more use, and its replicas do not need it
            process = await self._spawned()
            client = await until_connected(
                lambda: ControlClient.connect(self.socket_path),
                gone=process.exited,
                timeout_s=START_TIMEOUT_S,
                what=f"the warm parent of {self.runtime}",
            )
            await self._meet(process, client)
            return client

    async def _spawned(self) -> Process:
        loop = asyncio.get_running_loop()
        if self._began_s:
            await asyncio.sleep(self._backoff.next_s(ready_for_s=loop.time() - self._began_s))
        self._began_s = loop.time()
        self.socket_path.unlink(missing_ok=True)
        folders = self._folders
        where = ["--run-dir", str(folders.run_dir), "--state-dir", str(folders.state_dir)]
        self.process = spawn(
            [sys.executable, "-P", "-m", "sizewise.replica.warm", "--runtime", self.runtime, *where],
            log=folders.log_of(f"warm-{self.runtime}"),
        )
        prefer_in_oom(self.process.pid, OOM_SCORE)
        log.info("warm parent %d of %s started", self.process.pid, self.runtime)
        return self.process

    async def _meet(self, process: Process, client: ControlClient) -> None:
        """Listen to its exits from now on, and hear of those before."""
        self.process, self._client = process, client
        try:
            await client.call("subscribe")  # before the list, so that no exit falls between them
            self._listening = asyncio.ensure_future(self._listen(client, client.events()))
            listed = await client.call("list")
        except UnavailableError:
            return
        self.children = {str(key): int(pid) for key, pid in dict(listed.get("children", {})).items()}
        self.hosts = {str(key): int(pid) for key, pid in dict(listed.get("hosts", {})).items()}
        for exit_ in listed.get("exits", []):
            await self._note_exit(client, exit_)

    async def _listen(self, client: ControlClient, events: AsyncIterator[Message]) -> None:
        with contextlib.suppress(UnavailableError):
            async for event in events:
                if event.get("event") == "exit":
                    await self._note_exit(client, event)
        async with self._told:
            if self._client is client:
                self._client = None
            self._told.notify_all()

    async def _note_exit(self, client: ControlClient, event: Message) -> None:
        pid = int(event["pid"])
        async with self._told:
            self._exits[pid] = words_of_status(int(event["status"]))
            while len(self._exits) > MAX_EXITS:
                self._exits.pop(next(iter(self._exits)))
            self._told.notify_all()
        with contextlib.suppress(UnavailableError):
            await client.call("ack", pid=pid)


class WarmParents:
    """One warm parent per runtime, made when first asked for."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self.parents: dict[str, WarmParent] = {}

    def of(self, runtime: str) -> WarmParent:
        if runtime not in self.parents:
            self.parents[runtime] = WarmParent(runtime, self._folders)
        return self.parents[runtime]

    def parent_of(self, replica_id: str) -> WarmParent | None:
        """Who forked a replica that was there before this keeper, if that parent lives."""
        return next((each for each in self.parents.values() if replica_id in each.children), None)

    def parent_of_host(self, host: str) -> WarmParent | None:
        return next((each for each in self.parents.values() if host in each.hosts), None)

    async def adopt(self) -> None:
        """Find those that live, by their sockets."""
        for path in self._folders.run_dir.glob("warm-*.sock"):
            runtime = path.name.removeprefix("warm-").removesuffix(".sock")
            if not await self.of(runtime).adopt():
                del self.parents[runtime]
                path.unlink(missing_ok=True)

    async def close(self) -> None:
        await asyncio.gather(*(parent.close() for parent in self.parents.values()))
