"""What Linux tells about the page cache and this machine, and how a child dies with its parent."""

import ctypes
import mmap
import os
import platform
import signal
from collections.abc import Iterable
from pathlib import Path

from sizewise.core.units import KIB, format_bytes

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


def evict(files: Iterable[Path]) -> float:
    """Ask the kernel to drop these files from the page cache; the share of their pages that is still there.

    Pages that another process has mapped stay, and so do all pages on file systems that ignore the advice.
    """
    kept = pages = 0
    for path in files:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)  # dirty pages cannot be dropped
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            here, count = _cached_pages(descriptor)
        finally:
            os.close(descriptor)
        kept, pages = kept + here, pages + count
    return kept / pages if pages else 0.0


def warm(files: Iterable[Path]) -> None:
    """Bring these files into the page cache."""
    for path in files:
        with path.open("rb", buffering=0) as source:
            while source.read(4 * 1024 * KIB):
                pass


def _cached_pages(descriptor: int) -> tuple[int, int]:
    size = os.fstat(descriptor).st_size
    if size == 0:
        return 0, 0
    count = -(-size // mmap.PAGESIZE)
    seen = (ctypes.c_ubyte * count)()
    # Private and writable only because ctypes takes the address of writable buffers alone; nothing is written.
    with mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as view:
        start = ctypes.c_char.from_buffer(view)
        failed = ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), seen)
        del start  # a mapping cannot be closed while its buffer is exported
    return (count if failed else sum(page & 1 for page in seen)), count


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
