"""Where connections come from: the data port, with TLS or without, and a socket for processes of this installation."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING

from sizewise.gateway.connection import Connection

if TYPE_CHECKING:
    from sizewise.gateway.gateway import Gateway
    from sizewise.protocols.certificates import Certificate

log = logging.getLogger(__name__)

LOCAL_SOCKET = "data.sock"
"""In the run folder: the same HTTP as on the data port, never with TLS."""
BACKLOG = 4096
"""asyncio tells the kernel again when it starts to serve; its own default would shrink what the keeper set."""
HANDSHAKE_S = 10.0
HANDSHAKES = 256
"""Under way at once; one more ends the oldest, which is the likeliest to be nobody's."""


async def listen(gateway: Gateway, listener: socket.socket) -> None:
    """Take connections from the first routes on, until cancelled; before, they wait in the kernel."""
    await gateway.routed.wait()
    loop = asyncio.get_running_loop()
    path = gateway.config.run_dir / LOCAL_SOCKET
    path.unlink(missing_ok=True)
    local = await loop.create_unix_server(lambda: Connection(gateway), str(path), backlog=BACKLOG)
    # A duplicate: closing the server must not close what take_listener hands out
    taken = listener.dup()
    try:
        if gateway.config.certificate is None:
            server = await loop.create_server(lambda: Connection(gateway), sock=taken, backlog=BACKLOG)
            try:
                await loop.create_future()
            finally:
                server.close()
        else:
            await TlsPort(gateway, gateway.config.certificate).accept(taken)
    finally:
        local.close()
        taken.close()
        path.unlink(missing_ok=True)


class TlsPort:
    """Accepts by itself, as a connection is known to the gateway only after its handshake."""

    def __init__(self, gateway: Gateway, certificate: Certificate) -> None:
        self._gateway = gateway
        self._certificate = certificate
        self._shaking: dict[asyncio.Task[None], None] = {}
        """In the order in which they began."""

    async def accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError as error:  # no descriptors left: whoever waits is taken when there are
                    log.warning("a connection could not be taken: %s", error.strerror or error)
                    await asyncio.sleep(0.1)
                    continue
                if len(self._shaking) >= HANDSHAKES:
                    oldest = next(iter(self._shaking))
                    del self._shaking[oldest]
                    oldest.cancel()
                task = loop.create_task(self._shake(connection))
                self._shaking[task] = None
                task.add_done_callback(lambda done: self._shaking.pop(done, None))
        finally:
            for task in tuple(self._shaking):
                task.cancel()

    async def _shake(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await loop.connect_accepted_socket(
                lambda: Connection(self._gateway),
                connection,
                ssl=self._certificate.context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=self._gateway.limits.linger_s,
            )
        except OSError:
            pass  # a client that speaks no TLS, an old one, or gives up is nothing to tell
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # else the loop would wait for its farewell
            raise
