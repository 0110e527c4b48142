"""From a warm parent to a replica: one fork, and nothing of the parent left in the child but its imports."""

import gc
import os
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from setproctitle import setproctitle

from sizewise.protocols.execution import ExecutionJournal
from sizewise.replica import own, program
from sizewise.replica.sockets import bind, replica_socket

INHERITED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a replica process is to be called, and where it listens and writes.

    ``shared``: it is to hold replicas of several models, and keeps a journal of which one executes.
    """

    replica_id: str
    model: str
    log: Path
    run_dir: Path
    state_dir: Path
    shared: bool = False

    @property
    def socket_path(self) -> Path:
        return replica_socket(self.run_dir, self.replica_id, shared=self.shared)

    @property
    def title(self) -> str:
        role = "host" if self.shared else "replica"
        return f"sizewise {role} {self.model} --state-dir {self.state_dir}"


def fork(order: Order, *, close: Sequence[int]) -> int:
    """Pid of a new replica, to which one may connect. ``close`` are descriptors the child must not keep.

    Raises OSError or UsageError for a log or a socket that cannot be made.
    """
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        with bind(order.socket_path) as listener:
            # Peers may connect as soon as its pid is told, and what they say waits. The child listens again, so that
            # it is the process that they see from then on (SO_PEERCRED)
            listener.listen(program.BACKLOG)
            # What exists now is shared for good: a collection in a child would copy every page it looks at
            gc.freeze()
            with warnings.catch_warnings():
                # Python 3.12 and later warn of the threads that a framework started when it was imported; they
                # hold no lock of ours, and the child does not use them
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:
                _live(order, listener=listener, log=log, close=close)
            return pid
    finally:
        os.close(log)


def _live(order: Order, *, listener: socket.socket, log: int, close: Sequence[int]) -> None:
    """Never returns: whatever the parent was doing is not the child's to finish."""
    status = 1
    try:
        _become(order, log=log, close=close)
        journal = ExecutionJournal(order.socket_path.with_suffix(".journal")) if order.shared else None
        program.serve(listener, order.replica_id, journal)
        status = 0
    except BaseException:  # the parent's frames above must not see it
        traceback.print_exc()
    finally:
        order.socket_path.unlink(missing_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _become(order: Order, *, log: int, close: Sequence[int]) -> None:
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for descriptor in close:
        if descriptor >= 0:
            os.close(descriptor)
    signal.set_wakeup_fd(-1)
    for number in INHERITED_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    # Siblings would otherwise draw the same numbers; Python's own generator sees to itself. Importing numpy's takes
    # 9 ms, and seeds it
    if "numpy.random" in sys.modules:
        np.random.seed()
    own.prefer_in_oom()
    setproctitle(order.title)
