"""The last session of a model: opened beside the one that answers, and put in its place between two batches.

On a thread: opening computes and reads, and holds no lock of the interpreter while it does. One at a time per machine,
so that loads do not fight for the disk and the cores; at low priority, so that what answers comes first.
"""

import contextlib
import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

from sizewise.hosting.loading import LoadRequest, warm_up
from sizewise.runtimes import LoadedModel
from sizewise.runtimes.base import one_line
from sizewise.runtimes.forms import load_last
from sizewise.system.memory import give_back_memory

log = logging.getLogger(__name__)

NICE = 10

Swap = Callable[[LoadedModel, float], "Future[LoadedModel]"]
"""Called on the thread with the session and the seconds it took: from another thread, put it in place and give back
the one before."""
Failed = Callable[[], None]


def open_last(request: LoadRequest, *, swap: Swap, failed: Failed) -> None:
    """Returns at once. ``failed`` is called on the thread: what answers goes on, and the log says why."""

    def work() -> None:
        try:
            _open(request, swap)
        except Exception as error:  # whatever it is: the first session answers
            log.warning("%s stays with the session that it has: %s", request.target, one_line(error))
            failed()

    threading.Thread(target=work, name=f"second {request.target}", daemon=True).start()


def _open(request: LoadRequest, swap: Swap) -> None:
    form = request.files.form
    assert form is not None, "a last session is one on a form"
    if request.files.threads == 1:
        # With more, the session's own threads would be born with this priority, and could never raise it
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    with _turn(form.path.parent.parent):
        began_s = time.monotonic()
        model = load_last(request.runtime, request.files)
        warm_up(model)
        open_s = time.monotonic() - began_s
    before = swap(model, open_s).result()
    # Its pages go here and not between two batches: that takes milliseconds for each GB
    del before
    give_back_memory()
    log.info("%s answers from its %s session, open after %.3f s", request.target, form.name, open_s)


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Of everybody who opens forms below ``folder``. The kernel lets go of it however this process ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
