"""``python -m sizewise.grpc_gateway``: started by the keeper, asks the gateway over its local socket."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import grpc.aio
import setproctitle

from sizewise.core.units import MIB, parse_bytes
from sizewise.grpc_gateway.holding import Holding
from sizewise.grpc_gateway.service import Service
from sizewise.grpc_gateway.upstream import Upstream
from sizewise.protocols.certificates import Certificate, TlsFiles
from sizewise.protocols.control import ControlServer, Message
from sizewise.protocols.errors import UnavailableError, UsageError
from sizewise.protocols.frames import DEFAULT_MAX_BODY_BYTES

log = logging.getLogger(__name__)

SLACK_BYTES = MIB
"""Names and shapes around the tensors, which HTTP's limit on bodies does not count."""
CALLS = 1024
"""At work at once; more get RESOURCE_EXHAUSTED."""
CONNECTIONS = 1024
STREAMS = 128
"""Calls at work at once on one connection; further ones wait at the client."""
HEAD_BYTES = 64 * 1024
IDLE_S = 300
HANDSHAKE_S = 10


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    setproctitle.setproctitle(f"sizewise grpc --state-dir {arguments.state_dir}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        asyncio.run(serve(arguments))
    except (UnavailableError, UsageError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sizewise.grpc_gateway", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True, help="folder of the sockets")
    parser.add_argument("--state-dir", type=Path, required=True, help="shown in the process' title")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls-cert", help="PEM; with it the port speaks TLS")
    parser.add_argument("--tls-key")
    parser.add_argument("--max-body-bytes", type=parse_bytes, default=DEFAULT_MAX_BODY_BYTES, help="of one message")
    parser.add_argument("--max-held-bytes", type=parse_bytes, default=1024 * MIB, help="of all messages together")
    parser.add_argument("--drain-s", type=float, default=30.0, help="after SIGTERM")
    return parser


def _options(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", arguments.max_body_bytes + SLACK_BYTES),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", HEAD_BYTES),
        ("grpc.max_concurrent_streams", STREAMS),
        # It counts calls that ended and are not freed yet as well, and so refuses clients that keep to the line above
        ("grpc.http.overload_protection", 0),
        ("grpc.max_allowed_incoming_connections", CONNECTIONS),
        ("grpc.max_connection_idle_ms", IDLE_S * 1000),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_S * 1000),
        # A second program must not take the port silently
        ("grpc.so_reuseport", 0),
    ]


async def serve(arguments: argparse.Namespace) -> None:
    """Until SIGTERM or SIGINT. Raises UnavailableError, UsageError."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    upstream, holding = Upstream(arguments.run_dir / "data.sock"), Holding(arguments.max_held_bytes)
    server = grpc.aio.server(maximum_concurrent_rpcs=CALLS, options=_options(arguments))
    server.add_generic_rpc_handlers(Service(upstream, holding).handlers())
    port = _bind(server, arguments)
    await server.start()

    async def handle(message: Message) -> Message:
        if message.get("op") != "address":
            raise UnavailableError(f"{message.get('op')!r} is not an operation of the gRPC front")
        return {"host": arguments.host, "port": port}

    control = ControlServer(arguments.run_dir / "grpc.sock", handle)
    await control.start()
    watching = asyncio.ensure_future(holding.watch())
    try:
        await ended.wait()
        await server.stop(arguments.drain_s)
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        upstream.close()
        await control.close()


def _bind(server: grpc.aio.Server, arguments: argparse.Namespace) -> int:
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    address = f"{host}:{arguments.port}"
    try:
        if arguments.tls_cert is None:
            return int(server.add_insecure_port(address))
        files = TlsFiles(cert=arguments.tls_cert, key=arguments.tls_key or arguments.tls_cert)
        return int(server.add_secure_port(address, _credentials(files)))
    except RuntimeError as error:
        raise UnavailableError(f"cannot listen on {address}: choose another serving.grpc_port") from error


def _credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """The certificate is looked at again at each handshake."""
    certificate = Certificate(files)

    def read() -> grpc.ServerCertificateConfiguration:
        pair = (Path(files.key).read_bytes(), Path(files.cert).read_bytes())
        return grpc.ssl_server_certificate_configuration([pair])

    return grpc.dynamic_ssl_server_credentials(read(), lambda: read() if certificate.refresh() else None)


if __name__ == "__main__":
    sys.exit(main())
