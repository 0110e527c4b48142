"""A server that is being measured: started, checked, its CPU counted over every process that it has, and ended."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.common import pss_bytes
from benchmarks.serving.bodies import Body, difference
from benchmarks.serving.environments import ROOT
from benchmarks.serving.registry import Start

START_S = 300.0
END_S = 15.0
_PR_SET_CHILD_SUBREAPER = 36


class FailedError(Exception):
    """Why a server cannot be measured, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    url: str
    start_s: float
    """From its start to the first right answer."""

    def pids(self) -> list[int]:
        return [each.pid for each in _descendants()]

    def memory_bytes(self) -> int:
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError, AttributeError):  # gone, or a zombie, which has none
                total += pss_bytes(pid)
        return total


def adopt_orphans() -> None:
    """Processes whose parents end become children of this one, so that none escapes being counted and ended."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextlib.contextmanager
def served(start: Start, url: str, body: Body, form: str) -> Iterator[Server]:
    """A server that gives the right answer before, and after. Raises FailedError."""
    folder = Path(tempfile.mkdtemp(prefix="sw-bench-"))  # short: Ray makes sockets in it
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(folder), "DO_NOT_TRACK": "1", **start.env}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PATH"] = f"{Path(start.command[0]).parent}{os.pathsep}{env['PATH']}"
    log = folder / "log"
    began_s = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(start.command, env=env, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    try:
        _await_answer(process, url, body, form, until_s=began_s + START_S)
        yield Server(url=url, start_s=time.monotonic() - began_s)
        _check(url, body, form)
    except FailedError as error:
        said = log.read_text(errors="replace").strip().splitlines()
        raise FailedError(f"{error}; it said last: {said[-1] if said else 'nothing'}") from error
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


def free_ports() -> int:
    """The first of three neighbours that are free: some servers open gRPC and metrics beside HTTP."""
    for first in range(18_000, 28_000, 10):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + 3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise FailedError("no three free ports in a row between 18000 and 28000")


def _await_answer(process: subprocess.Popen[bytes], url: str, body: Body, form: str, *, until_s: float) -> None:
    last = "no answer"
    while time.monotonic() < until_s:
        if process.poll() is not None:
            raise FailedError(f"it ended with {process.returncode}")
        try:
            answer = _ask(url, body, form)
        except httpx.HTTPError as error:
            last = str(error) or type(error).__name__
        else:
            if answer.status_code == 200:
                _check(url, body, form)
                return
            last = f"{answer.status_code} {answer.text[:100]}"
        time.sleep(0.02)
    raise FailedError(f"no right answer in {START_S:g} s ({last})")


def _check(url: str, body: Body, form: str) -> None:
    try:
        wrong = difference(_ask(url, body, form).raise_for_status().json(), body.answer)
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        wrong = f"{type(error).__name__}: {error}"
    if wrong is not None:
        raise FailedError(f"wrong answer: {wrong}")


def _ask(url: str, body: Body, form: str) -> httpx.Response:
    sent: Any = body.forms[form]
    return httpx.post(url, content=sent.file.read_bytes(), headers=sent.headers, timeout=30, trust_env=False)


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask, wait, and then end whatever is left, the processes of processes included."""
    own = _descendants()
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    left = {each.pid: each for each in [*own, *_descendants()]}.values()
    for each in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(list(left), timeout=END_S)
    process.wait()
