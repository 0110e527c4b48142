"""Keeps one gRPC front alive: a process that passes requests on to the gateway."""

import asyncio
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sizewise.backends.local.backoff import Backoff
from sizewise.backends.local.kept import let_go
from sizewise.backends.local.listener import address_of, bind
from sizewise.backends.local.logs import last_line
from sizewise.backends.local.processes import Process, spawn
from sizewise.backends.local.procfs import prefer_in_oom
from sizewise.backends.local.waiting import first_of, until_connected
from sizewise.protocols.certificates import TlsFiles
from sizewise.protocols.control import ControlClient
from sizewise.protocols.errors import UnavailableError

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
OOM_SCORE = -500
SOCKET = "grpc.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcCommand:
    """How a gRPC front is started."""

    run_dir: Path
    state_dir: Path
    host: str
    port: int
    """0: any free port."""
    tls: TlsFiles | None = None
    body_arguments: tuple[str, ...] = ()
    """The data port's limit on bodies, which holds for messages too."""

    @property
    def log_path(self) -> Path:
        return self.state_dir / "logs" / "grpc.log"

    def argv(self, port: int) -> list[str]:
        where = ["--run-dir", str(self.run_dir), "--state-dir", str(self.state_dir)]
        where += ["--host", self.host, "--port", str(port)]
        secure = [] if self.tls is None else ["--tls-cert", self.tls.cert, "--tls-key", self.tls.key]
        return [sys.executable, "-P", "-m", "sizewise.grpc_gateway", *where, *secure, *self.body_arguments]


class GrpcGuard:
    """Starts it, and starts it again when it dies: at once, then with backoff. Without a command it only adopts."""

    def __init__(self, socket_path: Path, changed: Callable[[str], None]) -> None:
        self.process: Process | None = None
        self.port: int | None = None
        self._command: GrpcCommand | None = None
        self._socket_path = socket_path
        self._changed = changed
        self._client: ControlClient | None = None
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def adopt(self) -> None:
        """Connect to one that lives already."""
        try:
            self._client = await ControlClient.connect(self._socket_path)
            self.process = Process(self._client.peer_pid)
            self.port = int((await self._client.call("address"))["port"])
        except (UnavailableError, ProcessLookupError):
            self._client = None

    async def start(self, command: GrpcCommand | None) -> None:
        """Keep one running. Raises UnavailableError when the port cannot be had, or it does not come up."""
        if command is None:
            if self.process is not None:  # of before, and no longer wished for
                await self.process.end(grace_s=1.0)
                self.process = self.port = None
            return
        self._command = command
        if self.process is None:
            # The process binds by itself, as gRPC takes no socket from us: here we learn whether it can
            probe = bind(command.host, command.port)
            self.port = address_of(probe)[1]
            probe.close()
            try:
                await self._connected()
            except (UnavailableError, OSError) as error:
                self._kill()
                raise UnavailableError(f"gRPC: {last_line(command.log_path) or error}") from error
        self._task = asyncio.ensure_future(self._keep())

    async def close(self, *, grace_s: float) -> None:
        """End it for good."""
        self._closing = True
        await let_go(self._task, self._client, self.process, grace_s=grace_s)
        self._socket_path.unlink(missing_ok=True)

    def _kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    async def _keep(self) -> None:
        backoff, loop = Backoff(), asyncio.get_running_loop()
        while not self._closing:
            began_s = loop.time()
            try:
                process, client = await self._connected()
                await first_of(process.exited.wait(), client.closed.wait())
            except (UnavailableError, OSError) as error:
                log.warning("grpc: %s", error)
            ended, self.process, self._client = self.process, None, None
            if ended is not None:
                ended.kill()  # one without its control socket is of no use
                await ended.exited.wait()
                log.warning("gRPC front %d ended: %s", ended.pid, ended.status or "status unknown")
            self._changed("down")
            await asyncio.sleep(backoff.next_s(ready_for_s=loop.time() - began_s))

    async def _connected(self) -> tuple[Process, ControlClient]:
        process, client = self.process, self._client
        if process is None:
            process = self.process = self._spawn()
        if client is None:
            client = self._client = await until_connected(
                lambda: ControlClient.connect(self._socket_path),
                gone=process.exited,
                timeout_s=START_TIMEOUT_S,
                what="the gRPC front",
            )
            self._changed("up")
        return process, client

    def _spawn(self) -> Process:
        assert self._command is not None
        assert self.port is not None
        self._socket_path.unlink(missing_ok=True)
        process = spawn(self._command.argv(self.port), log=self._command.log_path)
        prefer_in_oom(process.pid, OOM_SCORE)
        log.info("gRPC front %d started", process.pid)
        return process
