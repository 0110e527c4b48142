"""``python -m sizewise.gateway``: started by the keeper, which hands down the listening socket."""

import argparse
import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import setproctitle
import uvloop

from sizewise.core.units import parse_bytes
from sizewise.gateway.control import Control
from sizewise.gateway.gateway import Config, Gateway
from sizewise.gateway.head import Access
from sizewise.gateway.keys import ApiKeys
from sizewise.gateway.limits import Limits
from sizewise.gateway.listening import listen
from sizewise.protocols.certificates import Certificate, TlsFiles
from sizewise.protocols.errors import UsageError
from sizewise.system.memory import keep_freed_memory

log = logging.getLogger(__name__)

SPARE_DESCRIPTORS = 256
"""For replicas, control connections and files."""
GC_THRESHOLD = 20_000
"""Requests leave no cycles behind, so looking for them at every 700th object is wasted."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    setproctitle.setproctitle(f"sizewise gateway --state-dir {arguments.state_dir}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    keep_freed_memory()
    listener = socket.socket(fileno=arguments.fd)
    listener.setblocking(False)
    try:
        certificate = _certificate(arguments)
    except UsageError as error:
        log.error("%s", error)
        return 2
    config = Config(
        run_dir=arguments.run_dir,
        access=Access.of(ApiKeys(arguments.api_keys), arguments.allowed_host),
        limits=_limits(arguments),
        server_name=arguments.server_name,
        certificate=certificate,
    )
    uvloop.run(serve(config, listener))
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = Limits()
    parser = argparse.ArgumentParser(prog="sizewise.gateway", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="folder of the sockets")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the listening socket")
    parser.add_argument("--state-dir", type=Path, required=True, help="shown in the process' title")
    parser.add_argument("--server-name", default="sizewise", help="name in the server metadata")
    parser.add_argument("--allowed-host", action="append", default=[], help="name that Host may carry; * for any")
    parser.add_argument("--api-keys", type=Path, help="file with one SHA-256 per line; without it no key is asked for")
    parser.add_argument("--tls-cert", help="certificate with its chain, PEM; with it the data port speaks TLS")
    parser.add_argument("--tls-key", help="its key, PEM")
    parser.add_argument("--max-body-bytes", type=parse_bytes, default=defaults.body_bytes)
    parser.add_argument("--max-buffered-bytes", type=parse_bytes, default=defaults.buffered_bytes)
    parser.add_argument("--max-connections", type=int, default=defaults.connections)
    parser.add_argument("--drain-s", type=float, default=defaults.drain_s, help="after SIGTERM")
    return parser


def _certificate(arguments: argparse.Namespace) -> Certificate | None:
    if arguments.tls_cert is None:
        return None
    return Certificate(TlsFiles(cert=arguments.tls_cert, key=arguments.tls_key or arguments.tls_cert))


def _limits(arguments: argparse.Namespace) -> Limits:
    return Limits(
        body_bytes=arguments.max_body_bytes,
        buffered_bytes=arguments.max_buffered_bytes,
        connections=min(arguments.max_connections, _descriptors() - SPARE_DESCRIPTORS),
        drain_s=arguments.drain_s,
    )


def _descriptors() -> int:
    """As many descriptors as this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return max(2 * SPARE_DESCRIPTORS, min(soft, 1 << 20))


async def serve(config: Config, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then drain within ``limits.drain_s``."""
    control = Control(config.run_dir)
    gateway = Gateway(config, control.server.publish)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await control.start(gateway, listener)
    gateway.start()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    serving = asyncio.ensure_future(listen(gateway, listener))
    try:
        await ended.wait()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        left = await gateway.drain(config.limits.drain_s)
        if left:
            log.warning("%d requests were not answered within %g s", left, config.limits.drain_s)
    finally:
        gateway.stop()
        await control.server.close()


if __name__ == "__main__":
    sys.exit(main())
