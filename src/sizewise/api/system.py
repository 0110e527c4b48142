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
LOOK_EVERY_S = 0.05
PATIENCE_S = 90.0
"""On top of the drain: every process has its own bound, and together they need less than this."""


def down(state_dir: str | Path, *, drain_s: float = DRAIN_S) -> bool:
    """Drain and end everything that belongs to ``state_dir``; returns when it is gone. False: nothing was there.

    Works with controller, keeper or both dead. The controller ends first, so that it starts nothing again. Raises
    UnavailableError when something does not end in time.
    """
    from sizewise.backends.local.launch import stop_everything

    state_dir = Path(state_dir).absolute()
    had_controller = _end_controller(state_dir, drain_s)
    had_processes = asyncio.run(stop_everything(state_dir, drain_s))
    return had_controller or had_processes


def _end_controller(state_dir: Path, drain_s: float) -> bool:
    """Ask it, and wait until its process has ended; it drains and ends its data plane itself."""
    from sizewise.api.client import connect
    from sizewise.controller.layout import is_held, read_holder

    holder = read_holder(state_dir)
    if not is_held(state_dir):
        return False
    # Opened while it holds the lock, so that the number cannot have passed to somebody else.
    process = _process(holder.pid) if holder is not None else None
    try:
        with connect(state_dir=state_dir) as client:
            client.shutdown(drain_s)
    except SizewiseError:
        # It lives and does not answer: starting up, ending already, or hung. A signal reaches it all the same.
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(process, signal.SIGTERM)
    ends_s = time.monotonic() + drain_s + PATIENCE_S
    while is_held(state_dir) or not _has_ended(process):
        if time.monotonic() > ends_s:
            raise UnavailableError(
                f"the controller of {state_dir} did not end within {drain_s + PATIENCE_S:g} s: see logs/controller.log"
            )
        time.sleep(LOOK_EVERY_S)
    if process is not None:
        os.close(process)
    return True


def _process(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _has_ended(process: int | None) -> bool:
    """A pidfd reads as ready once its process has ended."""
    return process is None or bool(select.select([process], [], [], 0)[0])
