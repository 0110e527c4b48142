"""The listening socket of the data port: bound once, or taken over from a gateway that lives."""

import array
import contextlib
import errno
import os
import socket
from pathlib import Path

import orjson

from sizewise.protocols.errors import UnavailableError

BACKLOG = 4096
"""Connections that wait in the kernel while no gateway lives; the kernel may allow fewer."""
TAKE_TIMEOUT_S = 5.0


def bind(host: str, port: int) -> socket.socket:
    """Listen on ``host:port``, 0 for any free port.

    Without SO_REUSEPORT, so that a second program cannot take the port silently. Raises UnavailableError in one line.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UnavailableError(f"cannot listen on {host}: {error.strerror or error}: choose another host") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UnavailableError(f"port {port} of {host} is taken: choose another port, or end its holder") from error
        raise UnavailableError(f"cannot listen on {host}:{port}: {error.strerror}: choose another port") from error
    listener.setblocking(False)
    return listener


def take_over(path: Path) -> socket.socket | None:
    """The listening socket of the gateway behind ``gateway.sock``; None when no gateway answers. Blocks up to 5 s."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(TAKE_TIMEOUT_S)
        peer.connect(str(path))
        peer.sendall(orjson.dumps({"op": "take_listener", "n": 1}) + b"\n")
        descriptors = array.array("i")
        _, ancillary, _, _ = peer.recvmsg(65536, socket.CMSG_SPACE(descriptors.itemsize), socket.MSG_CMSG_CLOEXEC)
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(data[: descriptors.itemsize])
        if descriptors:
            os.set_inheritable(descriptors[0], False)
            listener = socket.socket(fileno=descriptors[0])
            listener.setblocking(False)
            return listener
    return None


def address_of(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return str(host), int(port)
