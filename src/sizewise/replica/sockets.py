"""Unix sockets in the run folder."""

import os
import re
import socket
from pathlib import Path

from sizewise.protocols.control import MAX_SOCKET_PATH_BYTES
from sizewise.protocols.errors import UsageError

REPLICA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")


def bind(path: Path) -> socket.socket:
    """A bound socket that does not listen yet, in place of what was at ``path``.

    Whoever called ``listen`` last is the process that peers see (SO_PEERCRED).
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise UsageError(f"{path} is longer than the {MAX_SOCKET_PATH_BYTES} bytes a socket's path may have")
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener


def replica_socket(run_dir: Path, replica_id: str, *, shared: bool = False) -> Path:
    """Where a replica listens, or a process that replicas share. Raises UsageError for an id that is not fit to be
    part of a file's name."""
    if not REPLICA_ID.fullmatch(replica_id):
        raise UsageError(f"replica id {replica_id!r} may have letters, digits, dots, dashes and underscores only")
    return run_dir / f"{'h' if shared else 'r'}-{replica_id}.sock"
