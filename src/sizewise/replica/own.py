"""What this process takes: read from /proc, a short read each."""

import ctypes
import gc
import os
from pathlib import Path

from sizewise.core.units import KIB

SELF = Path("/proc/self")
REPLICA_OOM_SCORE = 500
"""The kernel ends a replica before anything that serves other models too."""


def rss_anon_bytes() -> int:
    """Private memory now."""
    for line in (SELF / "status").read_bytes().splitlines():
        if line.startswith(b"RssAnon:"):
            return int(line.split()[1]) * KIB
    return 0


def mapped_bytes(folder: Path) -> int:
    """Resident pages of files below ``folder``. Cheap when none is mapped; smaps is read only if one is."""
    prefix = b" " + os.fsencode(folder.resolve()) + b"/"
    if prefix not in (SELF / "maps").read_bytes():
        return 0
    total, inside = 0, False
    for line in (SELF / "smaps").read_bytes().splitlines():
        name = line.split(b" ", 1)[0]
        if not name.endswith(b":"):  # "7f00-7f01 r--p 0 08:01 42   /path": a mapping begins
            inside = prefix in line
        elif inside and name == b"Rss:":
            total += int(line.split()[1]) * KIB
    return total


def release_memory() -> None:
    """Give back what loading needed and serving does not, and let the collector forget the rest."""
    gc.collect()
    gc.freeze()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc only
        libc.malloc_trim(0)


def prefer_in_oom(score: int = REPLICA_OOM_SCORE) -> None:
    """Raise oom_score_adj; what was set higher stays. Lowering it would need a privilege, raising does not."""
    path = SELF / "oom_score_adj"
    if int(path.read_text()) < score:
        path.write_text(str(score))
