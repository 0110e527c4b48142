"""Ending a system on this machine, in whatever state it is."""

import asyncio
import contextlib
import os
import select
import signal
from pathlib import Path

from sizewise.protocols.errors import SizewiseError, UnavailableError

DRAIN_S = 30.0
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
    """Ask it, and wait until it has ended; it drains and ends its data plane itself."""
    from sizewise.controller.layout import is_held, read_holder

    holder = read_holder(state_dir) if is_held(state_dir) else None
    if holder is None:
        return False
    try:
        process = os.pidfd_open(holder.pid)
    except ProcessLookupError:
        return False
    try:
        _ask_to_end(state_dir, process, drain_s)
        # Its lock goes a moment before it does: what is waited for is the end of the process.
        if not select.select([process], [], [], drain_s + PATIENCE_S)[0]:
            raise UnavailableError(
                f"the controller of {state_dir} did not end within {drain_s + PATIENCE_S:g} s: see logs/controller.log"
            )
    finally:
        os.close(process)
    return True


def _ask_to_end(state_dir: Path, process: int, drain_s: float) -> None:
    from sizewise.api.client import connect

    try:
        with connect(state_dir=state_dir) as client:
            client.shutdown(drain_s)
    except SizewiseError:
        # It lives and does not answer: starting up, ending already, or hung. A signal reaches it all the same.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(process, signal.SIGTERM)
