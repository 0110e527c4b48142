"""The admin API on a socket, inside the controller's event loop."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import uvicorn

from sizewise.protocols.errors import UnavailableError
from sizewise.server.guard import App

STOP_S = 5.0
"""Answers under way may take this long when the server stops."""
CONNECTIONS = 256


def bind_admin(host: str, port: int) -> socket.socket:
    """Raises UnavailableError in one line. Without SO_REUSEPORT: a second program must not bind it silently."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be bound ({error.strerror})"
        raise UnavailableError(f"admin port {port} on {host} {why}: choose another serving.admin_port") from error
    return listener


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class AdminServer:
    """``start`` returns when it accepts; ``failed`` is done if it ever ends by itself."""

    def __init__(self, app: App, listener: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            access_log=False,
            log_config=None,
            lifespan="off",
            server_header=False,
            date_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=int(STOP_S),
            ws="none",
        )
        self._server = _Server(config)
        self._listener = listener
        self.running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.running = asyncio.ensure_future(self._server.serve(sockets=[self._listener]))
        started = asyncio.ensure_future(self._server.accepting.wait())
        await asyncio.wait((self.running, started), return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self.running.done():
            raise UnavailableError("the admin API did not start: see controller.log")

    async def stop(self) -> None:
        self._server.should_exit = True
        if self.running is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.running, STOP_S + 1.0)


class _Server(uvicorn.Server):
    """Leaves signals to the controller, and tells when it accepts."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.accepting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
