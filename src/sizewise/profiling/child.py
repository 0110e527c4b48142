"""``python -m sizewise.profiling.child``: stands in for a warm parent and forks one process for each trial.

So the figures are those of a replica, which is forked from a process that has imported the runtime and run nothing.
A job comes on standard input as JSON; reports leave as JSON lines on what standard output was at the start: what
frameworks and models print goes to standard error.
"""

import gc
import os
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from sizewise.profiling.system import die_with_parent
from sizewise.profiling.timing import MAX_BATCH
from sizewise.profiling.trial import Job, Subject, Trial, run_trial
from sizewise.protocols.errors import ModelFileError, RuntimeMissingError
from sizewise.protocols.serde import from_jsonable
from sizewise.runtimes import Runtime, get_runtime
from sizewise.system.pagecache import evict, warm

THREADS_MUST_GAIN = 1.5
"""More threads are taken when they make a call at batch 1 this much faster: a core given to threads is one that
another replica does not get."""
EVICTED = 0.05
"""A load counts as cold when at most this share of its pages stayed in the page cache."""
_PACKAGES = {
    "onnx": ("onnxruntime",),
    "sklearn": ("scikit-learn", "skops"),
    "xgboost": ("xgboost", "xgboost-cpu"),
    "lightgbm": ("lightgbm",),
    "torch": ("torch",),
}


class Channel:
    """Lines to the process that watches this one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, event: str, **fields: Any) -> None:
        os.write(self._descriptor, orjson.dumps({"event": event, **fields}) + b"\n")


def main() -> None:
    channel = Channel(os.dup(1))
    os.dup2(2, 1)
    job = from_jsonable(Job, orjson.loads(sys.stdin.buffer.read()))
    die_with_parent(job.parent_pid)
    code = _reported(channel.send, lambda: _measure(job, channel.send))
    sys.stderr.flush()
    os._exit(code)


def _measure(job: Job, send: Callable[..., None]) -> None:
    send("stage", stage=f"importing {job.subject.runtime}")
    began_s = time.monotonic()
    runtime = get_runtime(job.subject.runtime)
    runtime.prepare()
    send("imported", import_s=time.monotonic() - began_s, versions=_versions(job.subject.runtime))
    gc.freeze()
    files = [Path(path) for path in job.subject.paths]
    largest = MAX_BATCH if job.batchable else 1
    warm(files)
    single_s = _fork(runtime, job.subject, Trial(label="single", threads=1, largest=largest), send=send)
    threads = 1
    if job.cpus > 1 and single_s is not None:
        need_s = single_s / THREADS_MUST_GAIN
        many = Trial(label="many", threads=job.cpus, largest=largest, only_below_s=need_s)
        many_s = _fork(runtime, job.subject, many, send=send)
        threads = job.cpus if many_s is not None and many_s < need_s else 1
    send("chosen", label="single" if threads == 1 else "many", threads=threads)
    send("stage", stage="loading it from a cold page cache")
    kept = evict(files)
    if kept > EVICTED:
        send("not_cold", kept=kept)
    else:
        _fork(runtime, job.subject, Trial(label="cold", threads=threads, largest=0), send=send)


def _fork(runtime: Runtime, subject: Subject, trial: Trial, *, send: Callable[..., None]) -> float | None:
    """Run ``trial`` in a child and relay what it reports; its median at batch 1."""
    reading, writing = os.pipe()
    own_pid, forked_s = os.getpid(), time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        die_with_parent(own_pid)
        channel = Channel(writing)
        os._exit(
            _reported(channel.send, lambda: run_trial(runtime, subject, trial, forked_s=forked_s, send=channel.send))
        )
    os.close(writing)
    send("stage", stage="starting a replica", pid=pid)
    single_s, failed = None, False
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            message = orjson.loads(line)
            failed = failed or message["event"] == "error"
            send(**message)
            if message["event"] == "point" and message["point"]["batch"] == 1 and not message["first"]:
                single_s = message["point"]["p50_s"]
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        if not failed:
            send("died", status=status)
        os._exit(0)
    return single_s


def _reported(send: Callable[..., None], work: Callable[[], None]) -> int:
    """Do ``work``; whatever it raises becomes an ``error`` line, and the trace goes to standard error."""
    try:
        work()
    except RuntimeMissingError as error:
        send("error", kind="missing", runtime=error.runtime, extra=error.extra)
    except MemoryError:
        send("error", kind="memory", text="out of memory")
    except ModelFileError as error:
        send("error", kind="model", text=error.problem, advice=error.advice)
    except BaseException as error:
        traceback.print_exc()
        send("error", kind="model", text=f"{type(error).__name__}: {error}")
    else:
        return 0
    return 1


def _versions(runtime: str) -> list[tuple[str, str]]:
    found = [("python", ".".join(str(part) for part in sys.version_info[:3]))]
    for package in ("sizewise", "numpy", *_PACKAGES.get(runtime, ())):
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
