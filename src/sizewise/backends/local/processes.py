"""Processes as things to wait for and to signal, through pidfds: never by a number that may be somebody else's."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sizewise.backends.local.logs import open_log

PR_SET_CHILD_SUBREAPER = 36


class Process:
    """One process, pinned by a pidfd from the moment this object is made.

    ``exited`` is set when it has ended; ``status`` is then its exit in words, or None when only a parent that is
    not us was told.
    """

    def __init__(self, pid: int, child: "subprocess.Popen[bytes] | None" = None) -> None:
        """Raises ProcessLookupError when there is no such process."""
        self.pid = pid
        self.exited = asyncio.Event()
        self.status: str | None = None
        self._child = child
        self._watchers: list[Callable[[], object]] = []
        self._fd: int | None = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._fd, self._on_exit)

    def watch(self, ended: Callable[[], object]) -> None:
        """Call ``ended`` when it has; cheaper than a task that waits, for what exists a thousand times."""
        if self.exited.is_set():
            ended()
        else:
            self._watchers.append(ended)

    def unwatch(self, ended: Callable[[], object]) -> None:
        if ended in self._watchers:
            self._watchers.remove(ended)

    def send(self, signum: int) -> None:
        """Signal it; one that has ended takes no notice."""
        if self._fd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signum)

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    async def ended_within(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.exited.wait()
        return self.exited.is_set()

    async def end(self, *, grace_s: float) -> None:
        """SIGTERM, then SIGKILL when that was not enough within ``grace_s``."""
        self.send(signal.SIGTERM)
        if not await self.ended_within(grace_s):
            self.kill()
            await self.exited.wait()

    def forget(self) -> None:
        """Stop watching; the process goes on."""
        if self._fd is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None

    def _on_exit(self) -> None:
        if self._fd is None:
            return
        with contextlib.suppress(ChildProcessError):
            info = os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)
            if info is not None:
                self.status = words_of(exited=info.si_code == os.CLD_EXITED, number=info.si_status)
        if self._child is not None:
            self._child.returncode = 0  # reaped above: what Popen would otherwise ask the kernel again
        self.forget()
        self.exited.set()
        watchers, self._watchers = self._watchers, []
        for ended in watchers:
            ended()


def words_of(*, exited: bool, number: int) -> str:
    return f"exit {number}" if exited else f"signal {number}"


def words_of_status(status: int) -> str:
    """A status as waitpid gives it.

    >>> words_of_status(9), words_of_status(256)
    ('signal 9', 'exit 1')
    """
    if os.WIFSIGNALED(status):
        return words_of(exited=False, number=os.WTERMSIG(status))
    return words_of(exited=True, number=os.WEXITSTATUS(status))


def spawn(
    argv: Sequence[str],
    *,
    log: Path,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: tuple[int, ...] = (),
) -> Process:
    """Start a program as leader of a session of its own, with its output at the end of ``log``.

    ``env`` is added to what this process was started with. Raises OSError when the program cannot be started.
    """
    settings = [f"{key}={value}" for key, value in (env or {}).items()]
    full = ["env", *settings, *argv] if settings else list(argv)
    with open_log(log) as out:
        child = subprocess.Popen(
            full,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    return Process(child.pid, child)


def become_subreaper() -> None:
    """Inherit what descendants leave behind: their exits are told to us instead of to process 1."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_strays(known: set[int]) -> bool:
    """Collect ended processes that were inherited and that nobody here waits for.

    True when it has to be called again: the next one is ``known``, and its own watch is about to collect it.
    """
    with contextlib.suppress(ChildProcessError):
        while (info := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if info.si_pid in known:
                return True
            os.waitpid(info.si_pid, os.WNOHANG)
    return False
