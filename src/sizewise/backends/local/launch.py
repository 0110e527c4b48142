"""Starting a keeper that outlives its starter, finding one that lives, and ending everything."""

import asyncio
import contextlib
import errno
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sizewise.backends.local.logs import last_line, open_log
from sizewise.backends.local.processes import Process
from sizewise.protocols.certificates import TlsFiles
from sizewise.protocols.control import ControlClient, run_dir
from sizewise.protocols.errors import UnavailableError

START_TIMEOUT_S = 60.0
"""Adopting replicas that are busy takes its time."""
POLL_S = 0.02
TOLD_PREFIX = "sizewise keeper: "
ENDING_S = 60.0
"""On top of the drain: stopping processes, each within its own bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperOptions:
    """What a keeper is started with. One that lives already keeps its own address and gateway options."""

    state_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080
    """0: any free port; ``KeeperInfo.port`` tells which."""
    gateway_arguments: tuple[str, ...] = ()
    """Passed on to the gateway as they are."""
    tls: TlsFiles | None = None
    """Of data port and gRPC port."""
    grpc_port: int | None = None
    """0: any free port; None: no gRPC."""

    def arguments(self) -> list[str]:
        found = ["--host", self.host, "--port", str(self.port)]
        found += [f"--gateway-argument={each}" for each in self.gateway_arguments]
        if self.tls is not None:
            found += ["--tls-cert", self.tls.cert, "--tls-key", self.tls.key]
        if self.grpc_port is not None:
            found += ["--grpc-port", str(self.grpc_port)]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperInfo:
    pid: int
    host: str
    port: int
    version: str
    adopted: bool
    """It lived before, or found a data plane that did."""
    tls: bool = False
    """The data port and the gRPC port speak TLS."""
    grpc_port: int | None = None

    @property
    def data_url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self._host}:{self.port}"

    @property
    def grpc_address(self) -> str:
        """Host and port; empty without gRPC."""
        return "" if self.grpc_port is None else f"{self._host}:{self.grpc_port}"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """How a caller introduces itself; ``lease`` as in docs/architecture.md, left out when ``None``."""

    role: str = "cli"
    pid: int | None = None
    lease: dict[str, Any] | None = None
    gives_lease: bool = False

    def fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"role": self.role, "pid": self.pid}
        return {**fields, "lease": self.lease} if self.gives_lease else fields


def keeper_socket(state_dir: Path) -> Path:
    return run_dir(state_dir.resolve()) / "keeper.sock"


def keeper_log(state_dir: Path) -> Path:
    return state_dir.resolve() / "logs" / "keeper.log"


def has_traces(state_dir: Path) -> bool:
    """Whether anything may run for this state folder: sockets, or records of commands."""
    folder = run_dir(state_dir.resolve())
    return any(folder.glob("*.sock")) or any(folder.glob("c-*.json"))


def data_plane_lives(state_dir: Path) -> bool:
    """Whether a process of this state folder listens: gateway, warm parent or replica."""
    return any(_listens(path) for path in run_dir(state_dir.resolve()).glob("*.sock"))


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        # EAGAIN: its backlog is full, so there is one
        return client.connect_ex(str(path)) in {0, errno.EAGAIN}


async def connect_keeper(state_dir: Path, hello: Hello | None = None) -> tuple[ControlClient, KeeperInfo]:
    """Raises UnavailableError when no keeper answers."""
    client = await ControlClient.connect(keeper_socket(state_dir))
    try:
        answer = await client.call("hello", **(hello or Hello()).fields())
    except BaseException:
        client.close()
        raise
    info = KeeperInfo(
        pid=answer["pid"],
        host=answer["host"],
        port=answer["port"],
        version=answer["version"],
        adopted=True,
        tls=bool(answer.get("tls")),
        grpc_port=answer.get("grpc_port"),
    )
    return client, info


async def ensure_keeper(options: KeeperOptions, hello: Hello | None = None) -> tuple[ControlClient, KeeperInfo]:
    """Connect to the keeper of a state folder; start one, which adopts what runs, when none lives.

    Raises UnavailableError with the keeper's own line when it cannot start (port taken, no permission).
    """
    with contextlib.suppress(UnavailableError):
        return await connect_keeper(options.state_dir, hello)
    adopts = data_plane_lives(options.state_dir)
    client, info = await _until_answering(start_detached(options.state_dir, options.arguments()), options, hello)
    return client, replace(info, adopted=adopts or info.adopted)


async def _until_answering(
    keeper: "Detached", options: KeeperOptions, hello: Hello | None
) -> tuple[ControlClient, KeeperInfo]:
    until_s = time.monotonic() + START_TIMEOUT_S
    while True:
        # Asked before connecting: one that has ended may have lost a race against another that now answers.
        ended = keeper.ended.is_set()
        try:
            client, info = await connect_keeper(options.state_dir, hello)
        except UnavailableError as error:
            if ended:
                raise UnavailableError(keeper.last_words()) from None
            if time.monotonic() > until_s:
                told = f"the keeper does not answer after {START_TIMEOUT_S:g} s ({error}): see keeper.log"
                raise UnavailableError(told) from error
            await asyncio.sleep(POLL_S)
        else:
            return client, replace(info, adopted=info.pid != keeper.pid)


class Detached:
    """A keeper that was started here and belongs to nobody."""

    def __init__(self, child: "subprocess.Popen[bytes]", log: Path, log_from: int) -> None:
        self.pid = child.pid
        self.code: int | None = None
        self.ended = threading.Event()
        self._child = child
        self._log = log
        self._log_from = log_from
        # Somebody has to collect it if it dies while its starter lives; a thread costs nothing until then.
        threading.Thread(target=self._collect, name="keeper-exit", daemon=True).start()

    def last_words(self) -> str:
        line = last_line(self._log, since_bytes=self._log_from).removeprefix(TOLD_PREFIX)
        return line or f"the keeper ended with exit {self.code} and said nothing: start it by hand to see why"

    def _collect(self) -> None:
        self.code = self._child.wait()
        self.ended.set()


def start_detached(state_dir: Path, arguments: list[str]) -> Detached:
    """In a session of its own, without a terminal, output to keeper.log. Raises UnavailableError in one line."""
    log = keeper_log(state_dir)
    try:
        with open_log(log) as out:
            log_from = log.stat().st_size
            child = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "sizewise.backends.local.keeper"),
                    *("--state-dir", str(state_dir.resolve()), *arguments),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise UnavailableError(f"cannot write {log}: {error.strerror}: choose another --state-dir") from error
    return Detached(child, log, log_from)


async def stop_everything(state_dir: Path, drain_s: float, *, patience_s: float = ENDING_S) -> bool:
    """End every process of a state folder, also when controller and keeper have died. True: there was something.

    Returns when all of them have gone. A keeper that does not answer for ``drain_s + patience_s`` is ended and
    replaced. Raises UnavailableError when it cannot be done.
    """
    try:
        client = await ControlClient.connect(keeper_socket(state_dir))
    except UnavailableError:
        return await _stop_without_keeper(state_dir, drain_s)
    bound_s = drain_s + patience_s
    with contextlib.suppress(ProcessLookupError):
        keeper = Process(client.peer_pid)
        try:
            await client.call("shutdown", timeout_s=bound_s, drain_s=drain_s)
            await asyncio.wait_for(keeper.exited.wait(), bound_s)
        except (UnavailableError, TimeoutError):
            # It hangs or died on the way: end it, and let a new one finish what it began
            keeper.kill()
            await keeper.exited.wait()
            await _stop_without_keeper(state_dir, drain_s)
        finally:
            client.close()
            keeper.forget()
    return True


async def _stop_without_keeper(state_dir: Path, drain_s: float) -> bool:
    if not has_traces(state_dir):
        return False
    keeper = start_detached(state_dir, ["--stop", "--drain-s", str(drain_s)])
    if not await asyncio.to_thread(keeper.ended.wait, drain_s + ENDING_S):
        raise UnavailableError(f"ending everything took longer than {drain_s + ENDING_S:g} s: see keeper.log")
    if keeper.code:
        raise UnavailableError(keeper.last_words())
    return True
