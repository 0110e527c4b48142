"""Which pages of files are in memory, and how to have them there or not."""

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

from sizewise.core.units import MIB

AHEAD_BYTES = 2 * MIB


def in_memory(files: Iterable[Path]) -> float:
    """Share of the pages of these files that need not be read from disk; 1.0 for none. About 1 ms for each GB."""
    return _share(files, drop=False)


def evict(files: Iterable[Path]) -> float:
    """Ask the kernel to drop these files from the page cache; the share of their pages that is still there.

    Pages that another process has mapped stay, and so do all pages on file systems that ignore the advice.
    """
    paths = tuple(files)
    return _share(paths, drop=True) if any(path.stat().st_size for path in paths) else 0.0


def warm(files: Iterable[Path]) -> None:
    """Bring these files into the page cache."""
    for path in files:
        with path.open("rb", buffering=0) as source:
            while source.read(4 * MIB):
                pass


def read_ahead(path: str) -> int:
    """Ask the kernel to read this file, and do not wait for it; its bytes.

    Piece by piece, as it takes no more than a few MiB of each request.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size_bytes = os.fstat(descriptor).st_size
        for offset in range(0, size_bytes, AHEAD_BYTES):
            os.posix_fadvise(descriptor, offset, AHEAD_BYTES, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(descriptor)
    return size_bytes


def _share(files: Iterable[Path], *, drop: bool) -> float:
    kept = pages = 0
    for path in files:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if drop:
                os.fsync(descriptor)  # dirty pages cannot be dropped
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            here, count = _cached_pages(descriptor)
        finally:
            os.close(descriptor)
        kept, pages = kept + here, pages + count
    return kept / pages if pages else 1.0


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
    return (count if failed else bytes(seen).count(1)), count
