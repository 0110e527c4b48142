"""Memory of a process. One that has gone reads as nothing."""

import contextlib
import ctypes
import gc
import os
from pathlib import Path

from sizewise.core.units import KIB, MIB

PROC = Path("/proc")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of ``mallopt``, from glibc's ``malloc.h``."""
KEPT_BYTES = 32 * MIB
"""A few large bodies; also the most that glibc takes for the size from which memory is the kernel's own."""
Pid = int | str
"""A process id, or ``self``."""


def status_bytes(pid: Pid = "self") -> dict[str, int]:
    """The sizes in ``/proc/PID/status`` (RssAnon, RssFile, VmHWM ...) in bytes. Costs about 0.15 ms."""
    return _sizes(PROC / str(pid) / "status")


def rss_anon_bytes(pid: Pid = "self") -> int:
    """Anonymous resident memory, pages shared with the process that forked it included."""
    return status_bytes(pid).get("RssAnon", 0)


def shared_anon_bytes(pid: Pid = "self") -> int:
    """Anonymous pages that are also another process' (a forked child and its parent). Costs 1 to 16 ms.

    An anonymous page of one process alone is a private dirty one, so the rest of them is shared.
    """
    sizes = _sizes(PROC / str(pid) / "smaps_rollup")
    return max(0, sizes.get("Anonymous", 0) - sizes.get("Private_Dirty", 0))


def private_bytes(pid: Pid = "self") -> int:
    """Memory that would be free if this process ended, its mapped files aside."""
    return max(0, rss_anon_bytes(pid) - shared_anon_bytes(pid))


def mapped_bytes(folder: Path, pid: Pid = "self") -> int:
    """Resident pages of files below ``folder`` that the process has mapped. Cheap when none is: then only the list
    of mappings is read; otherwise 7 to 16 ms for a large process.
    """
    prefix, total, inside = b" " + os.fsencode(folder.resolve()) + b"/", 0, False
    with contextlib.suppress(OSError, ValueError):
        if prefix not in (PROC / str(pid) / "maps").read_bytes():
            return 0
        for line in (PROC / str(pid) / "smaps").read_bytes().splitlines():
            name = line.split(b" ", 1)[0]
            if not name.endswith(b":"):  # "7f00-7f01 r--p 0 08:01 42   /path": a mapping begins
                inside = prefix in line
            elif inside and name == b"Rss:":
                total += int(line.split()[1]) * KIB
    return total


def disk_read_bytes() -> int:
    """What this process has had read from disk since it began; 0 where the kernel does not count it."""
    with contextlib.suppress(OSError, ValueError):
        for line in (PROC / "self" / "io").read_bytes().splitlines():
            if line.startswith(b"read_bytes:"):
                return int(line.split()[1])
    return 0


def keep_freed_memory() -> None:
    """Let the C allocator of this process use freed memory again, instead of asking the kernel for cleared pages each
    time: half of what a large body costs. Somebody has to ``give_back_memory`` when it is quiet.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc and some others
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)


def give_back_memory() -> None:
    """Return to the kernel what the C allocator of this process holds and does not use."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc only
        libc.malloc_trim(0)


def release_memory() -> None:
    """Give back what loading needed and serving does not, and let the collector forget the rest."""
    gc.collect()
    gc.freeze()
    give_back_memory()


def _sizes(path: Path) -> dict[str, int]:
    with contextlib.suppress(OSError, ValueError):
        lines = (line.split() for line in path.read_bytes().splitlines() if line.endswith(b" kB"))
        return {words[0].rstrip(b":").decode(): int(words[1]) * KIB for words in lines}
    return {}
