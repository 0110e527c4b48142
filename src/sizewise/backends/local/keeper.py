"""The keeper: decides nothing, keeps the last desired state running, and outlives the controller.

python -m sizewise.backends.local.keeper --state-dir D --host 127.0.0.1 --port 8080
"""

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import orjson
from setproctitle import setproctitle

from sizewise.backends.local import procfs
from sizewise.backends.local.grpc import GrpcCommand
from sizewise.backends.local.operations import Operations
from sizewise.backends.local.processes import become_subreaper
from sizewise.backends.local.supervisor import Supervisor
from sizewise.backends.local.warm import Folders
from sizewise.protocols.certificates import TlsFiles
from sizewise.protocols.control import ControlServer, make_run_dir
from sizewise.protocols.errors import SizewiseError, UnavailableError

log = logging.getLogger(__name__)

OOM_SCORE = -500
SIGNAL_DRAIN_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperArguments:
    state_dir: Path
    host: str
    port: int
    gateway_arguments: tuple[str, ...] = ()
    tls: TlsFiles | None = None
    grpc_port: int | None = None
    stop: bool = False
    """Adopt what runs, end it, and end."""
    drain_s: float = SIGNAL_DRAIN_S


def parse(argv: list[str] | None = None) -> KeeperArguments:
    parser = argparse.ArgumentParser(prog="sizewise keeper", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="0 for any free port")
    parser.add_argument("--gateway-argument", action="append", default=[], help="passed on to the gateway; repeatable")
    parser.add_argument("--tls-cert", help="PEM; with it data port and gRPC port speak TLS")
    parser.add_argument("--tls-key")
    parser.add_argument("--grpc-port", type=int, help="0 for any free port; without it there is no gRPC")
    parser.add_argument("--stop", action="store_true", help="adopt what runs for this state folder, end it, and end")
    parser.add_argument("--drain-s", type=float, default=SIGNAL_DRAIN_S, help="bound for --stop and SIGTERM")
    found = parser.parse_args(argv)
    return KeeperArguments(
        state_dir=found.state_dir.resolve(),
        host=found.host,
        port=found.port,
        gateway_arguments=tuple(found.gateway_argument),
        tls=None if found.tls_cert is None else TlsFiles(cert=found.tls_cert, key=found.tls_key or found.tls_cert),
        grpc_port=found.grpc_port,
        stop=found.stop,
        drain_s=found.drain_s,
    )


def lead_a_session() -> None:
    """Leave the terminal: its Ctrl-C and its end must not reach the data plane."""
    if os.getsid(0) == os.getpid():
        return
    try:
        os.setsid()
    except PermissionError:  # leader of a process group, as a shell starts it: only a child may leave
        if os.fork():
            os._exit(0)
        os.setsid()


def take_lock(run_dir: Path) -> TextIO:
    """Held for as long as this process lives. Raises UnavailableError naming the holder."""
    path = run_dir / "keeper.lock"
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise UnavailableError(f"another keeper holds this state folder ({holder}): use it, or end it first") from error
    file.truncate(0)
    file.write(orjson.dumps({"pid": os.getpid()}).decode())
    file.flush()
    return file


def grpc_command(arguments: KeeperArguments, folders: Folders) -> GrpcCommand | None:
    if arguments.grpc_port is None:
        return None
    return GrpcCommand(
        run_dir=folders.run_dir,
        state_dir=folders.state_dir,
        host=arguments.host,
        port=arguments.grpc_port,
        tls=arguments.tls,
        body_arguments=tuple(each for each in arguments.gateway_arguments if each.startswith("--max-body-bytes=")),
    )


async def run(arguments: KeeperArguments, folders: Folders) -> None:
    finished = asyncio.Event()
    supervisor = Supervisor(folders, gateway_arguments=arguments.gateway_arguments, tls=arguments.tls)
    socket_path = folders.run_dir / "keeper.sock"
    if arguments.stop:
        socket_path.unlink(missing_ok=True)  # of a keeper that was killed
        await supervisor.adopt_to_end()
        await supervisor.shutdown(arguments.drain_s)
        return
    await supervisor.begin(arguments.host, arguments.port, grpc_command(arguments, folders))
    operations = Operations(supervisor, finished)
    server = ControlServer(socket_path, operations.handle)
    supervisor.publish = server.publish
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, operations.end_soon, arguments.drain_s)
    await server.start()
    try:
        await finished.wait()
    finally:
        await server.close()


def main() -> int:
    arguments = parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s keeper %(levelname)s %(message)s")
    lead_a_session()
    setproctitle(f"sizewise keeper --state-dir {arguments.state_dir}")
    try:
        folders = Folders(state_dir=arguments.state_dir, run_dir=make_run_dir(arguments.state_dir))
        lock = take_lock(folders.run_dir)
    except (SizewiseError, OSError) as error:
        print(f"sizewise keeper: {error}", file=sys.stderr)
        return 1
    procfs.prefer_in_oom(os.getpid(), OOM_SCORE)
    become_subreaper()
    try:
        asyncio.run(run(arguments, folders))
    except (SizewiseError, OSError) as error:
        print(f"sizewise keeper: {error}", file=sys.stderr)
        return 1
    finally:
        lock.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
