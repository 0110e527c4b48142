"""One installation from start to end: lock, keeper, state, loop, admin API, and the way out."""

import asyncio
import ipaddress
import logging
import logging.handlers
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from setproctitle import setproctitle

from sizewise.backends.local.backend import LocalBackend
from sizewise.backends.local.launch import Hello, KeeperInfo, KeeperOptions, stop_everything
from sizewise.backends.local.machine import find_machine
from sizewise.controller.controller import Controller
from sizewise.controller.deploy import Difference
from sizewise.controller.former import Former
from sizewise.controller.forms import FormStore
from sizewise.controller.layout import ControllerLock, Holder, admin_token, prepare_state_dir
from sizewise.controller.parts import Parts
from sizewise.controller.proof import check_proof
from sizewise.controller.spec import MachineSpec, ServingSpec, Spec
from sizewise.controller.state import StateStore
from sizewise.controller.store import LocalStore
from sizewise.controller.view import Budget
from sizewise.controller.weigher import FileWeigher
from sizewise.core.units import MIB
from sizewise.profiling.measure import Bench
from sizewise.protocols.certificates import server_context
from sizewise.protocols.clock import SystemClock
from sizewise.protocols.errors import UsageError
from sizewise.server.admin import build_api
from sizewise.server.guard import Guard
from sizewise.server.http import AdminServer, bind_admin, url_of

log = logging.getLogger(__name__)

MEMORY_SHARE = 0.8
"""Of the machine's memory, where the spec does not say: the rest is for the system and for page cache."""
SHUTDOWN_DRAIN_S = 30.0
LEASE_S = 600.0
LOG_BYTES = 8 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerSettings:
    state_dir: Path
    spec: Spec | None = None
    """Applied as soon as everything runs; code in it is allowed: whoever starts a controller may run code."""
    prune: bool = False
    machine: MachineSpec = field(default_factory=MachineSpec)
    serving: ServingSpec = field(default_factory=ServingSpec)
    insecure: bool = False
    """Serve on a foreign address without API keys."""
    detached: bool = False
    """No lease: the data plane goes on until somebody ends it."""
    lease_s: float = LEASE_S
    """How long the data plane goes on after controller and terminal; long enough to come back to a lost one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What there is to say once everything runs."""

    holder: Holder
    adopted: bool
    """A data plane ran before, and goes on."""
    difference: Difference | None
    """What applying the spec changed; None without a spec."""


OnStarted = Callable[[Started], None]


async def run_controller(
    settings: ControllerSettings, on_started: OnStarted | None = None, *, budget: Budget | None = None
) -> None:
    """Until SIGINT, SIGTERM or a shutdown through the API; then everything is drained and ended.

    ``budget`` None: what the settings ask for, and this machine has.
    Ended by SIGKILL, the data plane goes on, and the next controller takes it over. Raises SizewiseError in one line
    when it cannot start; then nothing that was not there before is left running.
    """
    state_dir = settings.state_dir.absolute()
    _check_address(settings)
    _check_parts(settings.serving)
    prepare_state_dir(state_dir)
    lock = ControllerLock(state_dir)
    lock.acquire()
    try:
        _log_to(state_dir / "logs" / "controller.log")
        setproctitle(f"sizewise controller --state-dir {state_dir}")
        budget = budget or budget_of(settings.machine, state_dir)
        await _Installation(settings, state_dir, lock, budget=budget).run(on_started or (lambda _: None))
    finally:
        lock.release()


class _Installation:
    def __init__(self, settings: ControllerSettings, state_dir: Path, lock: ControllerLock, *, budget: Budget) -> None:
        self._settings = settings
        self._budget = budget
        self._state_dir = state_dir
        self._lock = lock
        self._stop = asyncio.Event()
        """Somebody asked to stop before there was a controller to tell."""

    async def run(self, on_started: OnStarted) -> None:
        # From the first moment: a start that is interrupted must not leave behind what it has begun.
        self._on_signal(self._stop.set)
        listener = bind_admin("127.0.0.1", self._settings.serving.admin_port)
        backend = LocalBackend(self._keeper_options(), hello=self._hello())
        try:
            info = await backend.connect()
            try:
                drain_s = await self._control(backend, info, listener, on_started=on_started)
            except BaseException:
                # What was taken over goes on; what was started for us alone does not.
                if not info.adopted:
                    backend.close()
                    await stop_everything(self._state_dir, 0.0)
                raise
        finally:
            backend.close()
            listener.close()
        await stop_everything(self._state_dir, drain_s)

    async def _control(
        self, backend: LocalBackend, info: KeeperInfo, listener: socket.socket, *, on_started: OnStarted
    ) -> float:
        """Until somebody asks to stop; how long requests in flight may then take."""
        state = StateStore(self._state_dir / "state.db")
        try:
            controller = self._controller(backend, state)
            controller.data_url, controller.grpc_address = info.data_url, info.grpc_address
            controller.admin_url = url_of(listener)
            await controller.open()
            server = AdminServer(self._app(controller), listener)
            await self._serve(controller, server, on_started, adopted=info.adopted)
            return controller.drain_s
        finally:
            state.close()

    async def _serve(
        self, controller: Controller, server: AdminServer, on_started: OnStarted, *, adopted: bool
    ) -> None:
        """Until somebody asks to stop. The loop ends first, so that nothing is started again."""
        self._on_signal(lambda: controller.request_shutdown(SHUTDOWN_DRAIN_S))
        if self._stop.is_set():
            controller.request_shutdown(SHUTDOWN_DRAIN_S)
        await server.start()
        holder = Holder(
            pid=os.getpid(),
            admin_url=controller.admin_url,
            data_url=controller.data_url,
            grpc_address=controller.grpc_address,
        )
        self._lock.announce(holder)
        deciding = asyncio.ensure_future(controller.run())
        stopping = asyncio.ensure_future(controller.stopping.wait())
        applying = asyncio.ensure_future(self._apply_spec(controller))
        try:
            await asyncio.wait((applying, stopping), return_when=asyncio.FIRST_COMPLETED)
            if applying.done():
                on_started(Started(holder=holder, adopted=adopted, difference=applying.result()))
                await asyncio.wait((deciding, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (stopping, applying, deciding):
                task.cancel()
            await asyncio.gather(applying, deciding, return_exceptions=True)
            await server.stop()

    @staticmethod
    def _on_signal(told: Callable[[], None]) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(signum, told)

    async def _apply_spec(self, controller: Controller) -> Difference | None:
        spec, difference = self._settings.spec, None
        if spec is not None:
            difference = await controller.apply_spec(spec, prune=self._settings.prune, code_allowed=True)
        # Whoever reads that it serves may ask at once.
        await controller.take_effect()
        return difference

    def _controller(self, backend: LocalBackend, state: StateStore) -> Controller:
        budget = self._budget
        forms = FormStore(self._state_dir / "forms")
        bench = Bench(cpus=budget.cpus, memory_bytes=budget.memory_bytes)
        parts = Parts(
            backend=backend,
            clock=SystemClock(),
            state=state,
            store=LocalStore(self._state_dir / "store", budget_bytes=budget.disk_bytes, forms=forms),
            weigher=FileWeigher(self._state_dir, bench, forms=forms),
            former=Former(forms, state_dir=self._state_dir),
            unix_s=time.time,
            new_id=lambda: secrets.token_hex(4),
            boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        )
        return Controller(parts, budget)

    def _app(self, controller: Controller) -> Guard:
        api = build_api(controller, lambda proof: check_proof(self._state_dir, proof), self._state_dir / "logs")
        return Guard(api, token=admin_token(self._state_dir), allowed_hosts=self._settings.serving.allowed_hosts)

    def _keeper_options(self) -> KeeperOptions:
        serving = self._settings.serving
        arguments = [f"--allowed-host={host}" for host in serving.allowed_hosts]
        if serving.api_keys is not None:
            arguments.append(f"--api-keys={serving.api_keys}")
        return KeeperOptions(
            state_dir=self._state_dir,
            host=serving.host,
            port=serving.port,
            gateway_arguments=tuple(arguments),
            tls=serving.tls,
            grpc_port=serving.grpc_port,
        )

    def _hello(self) -> Hello:
        session = os.getsid(0)
        # 0: its leader lives outside this namespace of processes, where nobody here can watch it
        terminal = session if session not in {0, os.getpid()} else None
        lease = None if self._settings.detached else {"terminal_pid": terminal, "grace_s": self._settings.lease_s}
        return Hello(role="controller", pid=os.getpid(), lease=lease, gives_lease=True)


def budget_of(wanted: MachineSpec, state_dir: Path) -> Budget:
    """What the spec says, but never more than there is."""
    found = find_machine(state_dir)
    cpus = min(wanted.cpus or found.cpus, found.cpus)
    memory_bytes = min(wanted.memory_bytes or int(found.memory_bytes * MEMORY_SHARE), found.memory_bytes)
    return Budget(
        cpus=cpus,
        memory_bytes=memory_bytes,
        disk_bytes=min(wanted.disk_bytes or found.disk_bytes, found.disk_bytes),
        load_slots=max(1, int(cpus) // 2),
    )


def _check_address(settings: ControllerSettings) -> None:
    """Anybody who reaches the data port may use it: only this machine does, unless somebody thought about it."""
    serving = settings.serving
    try:
        loopback = serving.host == "localhost" or ipaddress.ip_address(serving.host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and serving.api_keys is None and not settings.insecure:
        raise UsageError(
            f"serving.host {serving.host} can be reached by others: set serving.api_keys, or start with --insecure"
        )


def _check_parts(serving: ServingSpec) -> None:
    """What the data plane would only find out later, and tell its log."""
    if serving.tls is not None:
        server_context(serving.tls)
    if serving.grpc_port is not None and find_spec("grpc") is None:
        raise UsageError("serving.grpc_port needs grpcio: run pip install 'sizewise[grpc]', or remove the key")


def _log_to(path: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s controller %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # One line per request of ours to ourselves says nothing.
    logging.getLogger("httpx").setLevel(logging.WARNING)
