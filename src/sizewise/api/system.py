"""Ending a system on this machine, in whatever state it is."""

import asyncio
import contextlib
import os
import select
import signal
import time
from pathlib import Path

from sizewise.protocols.errors import SizewiseError, UnavailableError

DRAIN_S = 30.0
AFTER_DRAIN_S = 5.0
"""What a controller has on top of the drain. Killed later than that, it loses nothing: the keeper goes on ending."""
SILENT_S = 10.0
"""What a controller has that does not even answer."""
KILLED_S = 10.0
ANNOUNCE_S = 1.0


def down(state_dir: str | Path, *, drain_s: float = DRAIN_S) -> bool:
    """Drain and end everything that belongs to ``state_dir``; returns when it is gone. False: nothing was there.

    Works with controller, keeper or both dead or hung: what does not end within its bound is killed. The controller
    ends first, so that it starts nothing again. Raises UnavailableError when something does not end in time.
    """
    from sizewise.backends.local.launch import stop_everything

    state_dir = Path(state_dir).absolute()
    had_controller = _end_controller(state_dir, drain_s)
    had_processes = asyncio.run(stop_everything(state_dir, drain_s))
    return had_controller or had_processes


def _end_controller(state_dir: Path, drain_s: float) -> bool:
    """Ask it, and wait until it has ended; it drains and ends its data plane itself. One that hangs is killed."""
    process = _open_controller(state_dir)
    if process is None:
        return False
    try:
        bound_s = _ask_to_end(state_dir, process, drain_s)
        # Its lock goes a moment before it does: what is waited for is the end of the process.
        if not _has_ended(process, bound_s):
            _send(process, signal.SIGKILL)
            if not _has_ended(process, KILLED_S):
                raise UnavailableError(f"the controller of {state_dir} does not end, not even by SIGKILL")
    finally:
        os.close(process)
    return True


def _open_controller(state_dir: Path) -> int | None:
    """A pidfd, which stays this one process: what gets signals is the holder of the lock, never a pid used again."""
    from sizewise.controller.layout import has_lock_open, is_held, read_holder

    ends_s = time.monotonic() + ANNOUNCE_S
    while is_held(state_dir):
        holder = read_holder(state_dir)
        process = None if holder is None else _open_process(holder.pid)
        if holder is not None and process is not None:
            if has_lock_open(holder.pid, state_dir):
                return process
            os.close(process)
        if time.monotonic() > ends_s:
            raise UnavailableError(f"{state_dir}/controller.lock is held, and not by the process that it names")
        time.sleep(0.02)  # it begins or ends at this moment
    return None


def _open_process(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _send(process: int, signum: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(process, signum)


def _has_ended(process: int, within_s: float) -> bool:
    return bool(select.select([process], [], [], within_s)[0])


def _ask_to_end(state_dir: Path, process: int, drain_s: float) -> float:
    """How long it then has."""
    from sizewise.api.client import SilentError, connect

    bound_s = max(drain_s + AFTER_DRAIN_S, SILENT_S)
    try:
        with connect(state_dir=state_dir) as client:
            client.shutdown(drain_s)
    except SizewiseError as error:
        # It lives and does not answer: starting up, ending already, or hung. A signal reaches it all the same.
        _send(process, signal.SIGTERM)
        return SILENT_S if isinstance(error, SilentError) else bound_s
    return bound_s
