"""The state directory: its format, the admin token, the lock of the one controller."""

import contextlib
import fcntl
import os
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path

from sizewise.protocols.errors import ConflictError, UnavailableError
from sizewise.protocols.serde import dumps, loads

FORMAT = 1
"""Raise when an older program could not read what this one writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds ``controller.lock``."""

    pid: int
    admin_url: str = ""
    """Empty while it starts."""
    data_url: str = ""
    grpc_address: str = ""
    """Host and port; empty without gRPC."""


def prepare_state_dir(state_dir: Path) -> None:
    """Create it for its owner only. Raises UnavailableError: not writable, or written by a newer version."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = state_dir / "format"
        if not marker.exists():
            _write_private(marker, f"{FORMAT}\n")
        _check_format(state_dir, marker.read_text().strip())
        (state_dir / "logs").mkdir(mode=0o700, exist_ok=True)
        (state_dir / "profiles").mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"{state_dir} cannot be used: {error.strerror or error}: choose another --state-dir"
        ) from error


def _check_format(state_dir: Path, found: str) -> None:
    if not found.isdigit() or int(found) > FORMAT:
        raise UnavailableError(
            f"{state_dir} has format {found}, this version reads up to {FORMAT}: "
            f"install a newer sizewise or choose another --state-dir"
        )


def admin_token(state_dir: Path) -> str:
    """The token of the admin API, made on first use, readable by the owner only."""
    path = state_dir / "admin-token"
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(32) + "\n")
    path.chmod(0o600)
    return path.read_text().strip()


class ControllerLock:
    """Held for as long as this controller lives; the kernel lets go of it however the process ends."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "controller.lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises ConflictError that says who holds it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            holder = read_holder(self._path.parent)
            who = f"pid {holder.pid}, {holder.admin_url or 'starting up'}" if holder else "starting up"
            raise ConflictError(
                f"{self._path.parent} is in use by another controller ({who}): "
                f"stop it with `sizewise down --state-dir {shlex.quote(str(self._path.parent))}` "
                f"or choose another --state-dir"
            ) from error
        self._descriptor = descriptor
        # Whoever wants it to end must find it before it serves.
        self.announce(Holder(pid=os.getpid()))

    def announce(self, holder: Holder) -> None:
        assert self._descriptor is not None, "announce after acquire"
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, dumps(holder), 0)

    def release(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def read_holder(state_dir: Path) -> Holder | None:
    """What the lock file says; whether the holder lives, only the lock itself tells (``is_held``)."""
    try:
        return loads(Holder, (state_dir / "controller.lock").read_bytes())
    except (OSError, ValueError):
        return None


def is_held(state_dir: Path) -> bool:
    """Whether a controller lives."""
    try:
        descriptor = os.open(state_dir / "controller.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # A shared lock is refused exactly while somebody holds the exclusive one.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def has_lock_open(pid: int, state_dir: Path) -> bool:
    """Whether that very process has the lock file open: after a crash, the pid in the file may be somebody else's."""
    try:
        lock = (state_dir / "controller.lock").stat()
        opened = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for each in opened:
        with contextlib.suppress(OSError):
            if os.path.samestat(each.stat(), lock):
                return True
    return False


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as target:
        target.write(text)
    temporary.rename(path)
