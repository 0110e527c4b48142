"""A child process under watch: limits on time and private memory, and no way to be left over.

No RLIMIT_AS or RLIMIT_DATA: both break models whose weights are mapped. Private memory is read instead.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import psutil

from sizewise.protocols.errors import DoesNotFitError, ModelFileError, RuntimeMissingError
from sizewise.system.memory import rss_anon_bytes

_SAMPLE_S = 0.02
"""Between looks at the memory; a look costs 0.15 ms."""
_ERROR_CHARS = 300
Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one measurement may take."""

    time_s: float = 300.0
    """From start to end."""
    memory_bytes: int
    """Private memory of the process that runs the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """``name`` is how the model is called in errors."""

    argv: tuple[str, ...]
    name: str
    limits: Limits


def run_child(child: Child, job: Message, on_message: Callable[[Message], None]) -> None:
    """Run ``child`` with ``job`` on its standard input and hand on each line it reports, until it ends by itself.

    Raises ModelFileError when it fails, hangs or dies, DoesNotFitError when it takes too much memory,
    RuntimeMissingError when a framework is not installed. Whatever happens, Ctrl-C included, nothing stays behind.
    """
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            child.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            # Its own session: the terminal's Ctrl-C reaches us alone, and killing the group takes what it started.
            start_new_session=True,
        )
        watch = _Watch(process, child)
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it has ended already; its status says why
                process.stdin.write(orjson.dumps(job))
                process.stdin.close()
            for message in watch.messages():
                on_message(message)
            status = process.wait()
            if status != 0:
                raise watch.died(status, _tail(complaints))
        finally:
            below = _below(process.pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            for each in below:  # what a model started in a session of its own is in no group of ours
                with contextlib.suppress(psutil.Error):
                    each.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _below(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


class _Watch:
    """What the child says, and a look at its time and memory in between."""

    def __init__(self, process: "subprocess.Popen[bytes]", child: Child) -> None:
        assert process.stdout is not None
        self._output = process.stdout
        self._child = child
        self._stage = "starting"
        self._pid = process.pid
        """The process whose memory counts: the one that runs the model."""
        self._started_s = time.monotonic()

    def messages(self) -> Iterator[Message]:
        """Until the child closes its output. Raises what it reports as an error, or a limit that it passes."""
        buffer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._output, selectors.EVENT_READ)
            while True:
                if selector.select(_SAMPLE_S):
                    chunk = os.read(self._output.fileno(), 65536)
                    if not chunk:
                        return
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    yield from (self._heard(line) for line in lines)
                self._check_time()
                self._check_memory()

    def died(self, status: int, tail: str) -> ModelFileError:
        how = f"signal {-status}" if status < 0 else f"exit {status}"
        said = f": {tail}" if tail else ""
        return ModelFileError(self._child.name, f"the process that runs it died while {self._stage} ({how}){said}")

    def _heard(self, line: bytes) -> Message:
        message: Message = orjson.loads(line)
        if message["event"] == "error":
            raise _error(message, self._child)
        if message["event"] == "died":
            raise self.died(message["status"], "")
        self._stage = message.get("stage", self._stage)
        self._pid = message.get("pid", self._pid)
        return message

    def _check_time(self) -> None:
        limit_s = self._child.limits.time_s
        if time.monotonic() - self._started_s > limit_s:
            raise ModelFileError(
                self._child.name,
                f"{self._stage} did not finish within {limit_s:g} s and was ended",
                "raise --time-limit if it is slow rather than stuck",
            )

    def _check_memory(self) -> None:
        limit = self._child.limits.memory_bytes
        used = rss_anon_bytes(self._pid)
        if used > limit:
            raise DoesNotFitError(
                model=self._child.name,
                resource=f"memory while {self._stage}",
                need_bytes=used,
                have_bytes=limit,
                advice="it was ended; use a larger machine or a smaller model, or raise --memory-limit",
            )


def _error(message: Message, child: Child) -> Exception:
    if message.get("kind") == "missing":
        return RuntimeMissingError(runtime=message["runtime"], extra=message["extra"])
    if message.get("kind") == "memory":
        return DoesNotFitError(
            model=child.name,
            resource="memory",
            need_bytes=child.limits.memory_bytes,
            have_bytes=child.limits.memory_bytes,
            advice="use a larger machine or a smaller model",
        )
    return ModelFileError(child.name, _one_line(message["text"]), message.get("advice", ""))


def _tail(complaints: Any) -> str:
    """The last line written to standard error: frameworks say there what they died of."""
    size = complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, size - 4096))
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    return _one_line(lines[-1]) if lines else ""


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _ERROR_CHARS else line[: _ERROR_CHARS - 3] + "..."
