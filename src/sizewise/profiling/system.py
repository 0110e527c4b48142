"""What Linux tells about this machine, and how a child dies with its parent."""

import ctypes
import os
import platform
import signal
from pathlib import Path

from sizewise.core.units import format_bytes

_PR_SET_PDEATHSIG = 1


def peak_anonymous_bytes(status: dict[str, int]) -> int:
    """The most private memory a process has had, at least.

    VmHWM counts file pages too; those resident now were not more at the peak, because nobody takes them back while
    they are used. Reset per process by fork.
    """
    return max(status.get("VmHWM", 0) - status.get("RssFile", 0) - status.get("RssShmem", 0), status.get("RssAnon", 0))


def die_with_parent(parent_pid: int) -> None:
    """SIGKILL this process when its parent ends, however that ends: nothing measured is worth an orphan."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_pid:  # it went before the line above
        os._exit(1)


def describe_machine(*, cpus: float, memory_bytes: int) -> str:
    """One line that names this kind of machine.

    Figures taken on one kind do not hold on another.
    """
    model = platform.machine()
    with Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {cpus:g} CPUs, {format_bytes(memory_bytes)}, {platform.system()} {platform.machine()}"
