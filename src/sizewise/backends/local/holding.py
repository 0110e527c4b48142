"""The keeper's side of the warm tier: one holder process that has everything mapped which is to stay in memory."""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Mapping

from sizewise.backends.local.backoff import Backoff
from sizewise.backends.local.holder import SOCKET
from sizewise.backends.local.processes import Process, spawn
from sizewise.backends.local.procfs import prefer_in_oom
from sizewise.backends.local.waiting import first_of, until_connected
from sizewise.backends.local.warm import OOM_SCORE, Folders
from sizewise.protocols.backend import HoldWarm, WarmObserved
from sizewise.protocols.control import ControlClient
from sizewise.protocols.errors import UnavailableError

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
LOOK_EVERY_S = 1.0
"""How far reading has come is asked for this often."""
LINGER_S = 30.0
"""A holder that has nothing to hold ends after this."""
END_GRACE_S = 2.0


class HolderGuard:
    """Has a holder run while there is something to hold. ``adopt``, then ``start``; nothing here makes anybody wait."""

    def __init__(self, folders: Folders) -> None:
        self.process: Process | None = None
        self._folders = folders
        self._client: ControlClient | None = None
        self._wanted: dict[str, HoldWarm] = {}
        self._since_s: dict[str, float] = {}
        self._bytes: dict[str, tuple[str, int]] = {}
        """Folder and bytes in memory, by model, as the holder said last."""
        self._paused = False
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def adopt(self) -> None:
        """Take over one that lives already, with all that it holds."""
        with contextlib.suppress(UnavailableError, ProcessLookupError):
            client = await ControlClient.connect(self._folders.run_dir / SOCKET)
            try:
                self.process, self._client = Process(client.peer_pid), client
            except ProcessLookupError:
                client.close()
                raise

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._keep())

    def hold(self, wanted: Mapping[str, HoldWarm]) -> None:
        """Everything that is to be held; what is not in it is let go."""
        for model, order in wanted.items():
            known = self._wanted.get(model)
            if known is None or known.version != order.version:
                self._since_s[model] = time.monotonic()
        self._wanted = dict(wanted)
        self._changed.set()

    def pause(self, paused: bool) -> None:
        """Read nothing while a model that somebody waits for is being read."""
        if paused != self._paused:
            self._paused = paused
            self._changed.set()

    def observed(self) -> tuple[WarmObserved, ...]:
        found = []
        for model, order in self._wanted.items():
            path, size = self._bytes.get(model, ("", 0))
            held = size if path == order.path else 0
            found.append(
                WarmObserved(
                    model=model,
                    version=order.version,
                    bytes=held,
                    since_s=self._since_s.get(model, 0.0),
                    path=order.path,
                )
            )
        return tuple(found)

    async def close(self) -> None:
        """End it, and with it what it holds."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._wanted = {}
        await self._end()

    async def _keep(self) -> None:
        backoff, began_s = Backoff(), time.monotonic()
        while True:
            self._changed.clear()
            if not self._wanted and self.process is None:
                await self._changed.wait()
                continue
            try:
                await self._tell()
                await self._wait()
            except (UnavailableError, OSError) as error:
                log.warning("holder: %s", error)
                await self._end()
                await asyncio.sleep(backoff.next_s(ready_for_s=time.monotonic() - began_s))
                began_s = time.monotonic()

    async def _tell(self) -> None:
        client = await self._connected()
        holds = {
            model: {"version": order.version, "path": order.path, "files": list(order.files)}
            for model, order in self._wanted.items()
        }
        answer = await client.call("keep", holds=holds, paused=self._paused)
        self._bytes = {model: (str(held.get("path", "")), int(held["bytes"])) for model, held in answer["held"].items()}

    async def _wait(self) -> None:
        """For a change, for its end, or until it is time to look again; one that has had nothing to do is ended."""
        process, client = self.process, self._client
        if process is None or client is None:
            return
        limit_s = LOOK_EVERY_S if self._wanted else LINGER_S
        await first_of(self._changed.wait(), client.closed.wait(), asyncio.sleep(limit_s))
        if client.closed.is_set():
            raise UnavailableError("it ended, and what it held may leave memory: it is started again")
        if not self._wanted and not self._changed.is_set():
            await self._end()

    async def _connected(self) -> ControlClient:
        if self._client is not None and not self._client.closed.is_set():
            return self._client
        path, folders = self._folders.run_dir / SOCKET, self._folders
        path.unlink(missing_ok=True)
        where = ["--run-dir", str(folders.run_dir), "--state-dir", str(folders.state_dir)]
        argv = [sys.executable, "-P", "-m", "sizewise.backends.local.holder", *where]
        process = self.process = spawn(argv, log=folders.log_of("holder"))
        prefer_in_oom(process.pid, OOM_SCORE)
        self._client = await until_connected(
            lambda: ControlClient.connect(path), gone=process.exited, timeout_s=START_TIMEOUT_S, what="the holder"
        )
        return self._client

    async def _end(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        if self.process is not None:
            await self.process.end(grace_s=END_GRACE_S)
            self.process = None
        self._bytes = {}
        (self._folders.run_dir / SOCKET).unlink(missing_ok=True)
