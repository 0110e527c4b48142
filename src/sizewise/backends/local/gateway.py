"""Keeps one gateway alive, with the listening socket inherited and with all routes."""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sizewise.backends.local.backoff import Backoff
from sizewise.backends.local.kept import let_go
from sizewise.backends.local.processes import Process, spawn
from sizewise.backends.local.procfs import prefer_in_oom
from sizewise.backends.local.waiting import first_of, until_connected
from sizewise.protocols.backend import ModelRoute
from sizewise.protocols.certificates import TlsFiles
from sizewise.protocols.control import ControlClient
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.serde import to_jsonable

log = logging.getLogger(__name__)

START_TIMEOUT_S = 30.0
ROUTES_TIMEOUT_S = 10.0
END_GRACE_S = 5.0
OOM_SCORE = -500
"""The kernel ends replicas long before the gateway."""

ReplicaRoute = dict[str, Any]


@dataclass(slots=True)
class Routes:
    """Everything a gateway is told after it starts; only replicas that are ready are in it."""

    models: dict[str, ModelRoute] = field(default_factory=dict)
    replicas: dict[str, ReplicaRoute] = field(default_factory=dict)

    def message(self) -> dict[str, Any]:
        models = {name: to_jsonable(route) for name, route in self.models.items()}
        return {"reset": True, "models": models, "replicas": dict(self.replicas)}


@dataclass(slots=True)
class _News:
    """Changes of the routes that a gateway has not been told yet; None removes."""

    models: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    replicas: dict[str, ReplicaRoute | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayCommand:
    """How a gateway is started; ``arguments`` are passed on as they are."""

    run_dir: Path
    state_dir: Path
    arguments: tuple[str, ...] = ()
    tls: TlsFiles | None = None

    @property
    def socket_path(self) -> Path:
        return self.run_dir / "gateway.sock"

    def argv(self, descriptor: int) -> list[str]:
        fixed = ["--run-dir", str(self.run_dir), "--fd", str(descriptor), "--state-dir", str(self.state_dir)]
        secure = [] if self.tls is None else ["--tls-cert", self.tls.cert, "--tls-key", self.tls.key]
        return [sys.executable, "-P", "-m", "sizewise.gateway", *fixed, *secure, *self.arguments]


class GatewayGuard:
    """Starts the gateway, tells it routes, starts it again when it dies: at once, then with backoff."""

    def __init__(self, command: GatewayCommand, changed: Callable[[str], None]) -> None:
        self.routes = Routes()
        self.process: Process | None = None
        self.restarts = 0
        self.died_with: set[str] = set()
        """Models that were inside a gateway that died: they stay out of it for as long as this keeper lives."""
        self.up = asyncio.Event()
        self.listener: socket.socket | None = None
        self.tls = command.tls is not None
        """Whether its port speaks TLS; one that was taken over may differ from the command."""
        self._command = command
        self._changed = changed
        self._client: ControlClient | None = None
        self._lock = asyncio.Lock()  # routes arrive in the order in which they were made
        self._news = _News()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def adopt(self) -> bool:
        """Connect to a gateway that lives already."""
        try:
            client = await ControlClient.connect(self._command.socket_path)
        except UnavailableError:
            return False
        try:
            self.process = Process(client.peer_pid)
        except ProcessLookupError:
            client.close()
            return False
        self._client = client
        return True

    async def routed(self) -> set[str]:
        """Replicas that an adopted gateway knows, and that it must not lose for a moment."""
        if self._client is None:
            return set()
        try:
            traffic = await self._client.call("traffic")
            self.tls = bool(traffic.get("tls"))
            return set(traffic["replicas"])
        except (UnavailableError, KeyError):
            return set()

    def start(self, listener: socket.socket) -> None:
        self.listener = listener
        self._task = asyncio.ensure_future(self._keep())

    async def set_models(self, routes: Mapping[str, ModelRoute | None]) -> None:
        """Publish models, or withdraw those without a route; all of them in one message."""
        for name, route in routes.items():
            if route is not None:
                self.routes.models[name] = route
            elif self.routes.models.pop(name, None) is None:
                continue
            self._news.models[name] = None if route is None else to_jsonable(route)
        await self._tell()

    async def set_replica(self, replica_id: str, route: ReplicaRoute) -> None:
        self.routes.replicas[replica_id] = self._news.replicas[replica_id] = route
        await self._tell()

    async def remove_replica(self, replica_id: str) -> None:
        if self.routes.replicas.pop(replica_id, None) is not None:
            self._news.replicas[replica_id] = None
            await self._tell()

    async def load_inline(self, replica_id: str, load: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """What the gateway says of a model that it is to hold. Raises UnavailableError."""
        if self._client is None:
            raise UnavailableError("the gateway is not there")
        message = {"op": "load_inline", "replica_id": replica_id, "load": load}
        return await self._client.request(message, timeout_s=timeout_s)

    async def drain_replica(self, replica_id: str, timeout_s: float) -> None:
        """Returns when nothing is outstanding at the replica, the time is over, or there is no gateway to ask."""
        await self._ask("drain_replica", timeout_s, replica_id=replica_id)

    async def drain(self, timeout_s: float) -> None:
        await self._ask("drain", timeout_s)

    async def close(self, *, grace_s: float = END_GRACE_S) -> None:
        """End the gateway for good."""
        self._closing = True
        await let_go(self._task, self._client, self.process, grace_s=grace_s)
        for path in (self._command.socket_path, self._command.run_dir / "data.sock"):
            path.unlink(missing_ok=True)

    async def _ask(self, op: str, timeout_s: float, **fields: Any) -> None:
        if self._client is None:
            return
        try:
            # The gateway itself stops waiting after timeout_s; the rest is for its answer to arrive.
            message = {"op": op, "timeout_s": timeout_s, **fields}
            await self._client.request(message, timeout_s=timeout_s + 2.0)
        except UnavailableError as error:
            log.warning("gateway: %s", error)

    async def _tell(self) -> None:
        """Send what has changed, together with what others changed while an earlier message was under way.

        Without a gateway nothing is lost, since a new one is told everything.
        """
        async with self._lock:
            news, self._news = self._news, _News()
            if self._client is None or not self.up.is_set() or not (news.models or news.replicas):
                return
            try:
                delta = {"models": news.models, "replicas": news.replicas}
                await self._client.call("routes", timeout_s=ROUTES_TIMEOUT_S, reset=False, **delta)
            except UnavailableError:
                # It died (its pidfd says so next) or hangs; either way it is told everything when it comes back.
                self._client.close()

    async def _keep(self) -> None:
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        while not self._closing:
            began_s = loop.time()
            try:
                process, client = await self._connected()
                await first_of(process.exited.wait(), client.closed.wait())
            except (UnavailableError, OSError) as error:
                log.warning("gateway: %s", error)
                if self.process is not None:
                    self.process.kill()
                    await self.process.exited.wait()
            self.up.clear()
            self._client = None
            # A broken connection may be seen before the death that broke it.
            if self.process is not None and await self.process.ended_within(0.2):
                log.warning("gateway %d ended: %s", self.process.pid, self.process.status or "status unknown")
                self.process = None
                self.restarts += 1
                self._forget_inline()
                self._changed("down")
            if self.process is None:
                await asyncio.sleep(backoff.next_s(ready_for_s=loop.time() - began_s))

    def _forget_inline(self) -> None:
        """What was inside went with it; the next gateway must not look for it."""
        replicas = self.routes.replicas
        self.routes.replicas = {each: route for each, route in replicas.items() if not route.get("inline")}

    async def _connected(self) -> tuple[Process, ControlClient]:
        """A gateway that has been told everything: the one that lives, or a new one."""
        process, client = self.process, self._client
        if process is None:
            process = self.process = self._spawn()
        if client is None:
            client = await until_connected(
                lambda: ControlClient.connect(self._command.socket_path),
                gone=process.exited,
                timeout_s=START_TIMEOUT_S,
                what="the gateway",
            )
        async with self._lock:
            self._client = client
            await client.call("routes", timeout_s=ROUTES_TIMEOUT_S, **self.routes.message())
            self.up.set()
        self._changed("up")
        return process, client

    def _spawn(self) -> Process:
        if self.listener is None:
            raise UnavailableError("the gateway has no listening socket")
        self._command.socket_path.unlink(missing_ok=True)
        descriptor = self.listener.fileno()
        process = spawn(
            self._command.argv(descriptor),
            log=self._command.state_dir / "logs" / "gateway.log",
            pass_fds=(descriptor,),
        )
        self.tls = self._command.tls is not None
        prefer_in_oom(process.pid, OOM_SCORE)
        log.info("gateway %d started", process.pid)
        return process
