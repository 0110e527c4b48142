"""What this machine has, as far as this process may use it."""

import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sizewise.core.units import KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    cpus: float
    """Processors this process may use; a fraction under a cgroup quota."""
    memory_bytes: int
    """What there is in all, or the limit of the cgroup or of this process where that is lower."""
    memory_available_bytes: int
    """What could be taken now without swapping."""
    disk_bytes: int
    """Of the file system that holds the state folder."""
    disk_free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """Where the kernel shows itself; a test may point elsewhere."""

    proc: Path = Path("/proc")
    cgroup: Path = Path("/sys/fs/cgroup")


PROCESS_LIMITS = ("Max address space", "Max data size")
"""RLIMIT_AS and RLIMIT_DATA, as the kernel words them."""


def find_machine(state_dir: Path, roots: Roots | None = None) -> Machine:
    roots = roots or Roots()
    total, available = _memory(roots)
    disk = shutil.disk_usage(_existing(state_dir))
    return Machine(
        cpus=min(float(len(os.sched_getaffinity(0))), _cpu_quota(roots)),
        memory_bytes=total,
        memory_available_bytes=available,
        disk_bytes=disk.total,
        disk_free_bytes=disk.free,
    )


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _memory(roots: Roots) -> tuple[int, int]:
    """(total, available) in bytes: the machine's, capped by every cgroup above this process that has a limit.

    Capped by the limits of this process, too. Every replica inherits them, so no larger one could start; what several
    replicas may take together is unknown, and the cautious reading is that they share it.
    """
    fields = {}
    for line in (roots.proc / "meminfo").read_text().splitlines():
        key, _, rest = line.partition(":")
        fields[key] = int(rest.split()[0]) * KIB
    total = fields["MemTotal"]
    available = fields.get("MemAvailable", total)
    for folder in _cgroup_folders(roots, "memory"):
        limit = _number(folder / "memory.max", folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current", folder / "memory.usage_in_bytes")
        if limit < total:
            # Page cache that the kernel could take back counts as used here: the cautious reading
            available = min(available, max(0, int(limit - (used if math.isfinite(used) else 0))))
            total = int(limit)
    limit = _process_limit(roots)
    return int(min(total, limit)), int(min(available, limit))


def _process_limit(roots: Roots) -> float:
    """Bytes that this process may have; infinite without a limit. The soft limits are what the kernel goes by."""
    try:
        lines = (roots.proc / "self" / "limits").read_text().splitlines()
    except OSError:
        return math.inf
    soft = [line[len(name) :].split()[0] for line in lines for name in PROCESS_LIMITS if line.startswith(name)]
    return min((float(each) for each in soft if each != "unlimited"), default=math.inf)


def _cpu_quota(roots: Roots) -> float:
    """Processors' worth of time that cgroups allow; infinite without a quota."""
    least = math.inf
    for folder in _cgroup_folders(roots, "cpu"):
        words = _words(folder / "cpu.max")
        if len(words) == 2 and words[0] != "max":
            least = min(least, int(words[0]) / int(words[1]))
        quota = _number(folder / "cpu.cfs_quota_us")
        period = _number(folder / "cpu.cfs_period_us")
        if math.isfinite(quota) and quota > 0 and period > 0:
            least = min(least, quota / period)
    return least


def _cgroup_folders(roots: Roots, controller: str) -> Iterator[Path]:
    """The cgroup of this process and all above it, of version 2 and of version 1.

    In a container the path may name a folder that only the host has; the mount's own root is then all there is.
    """
    try:
        lines = (roots.proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mount = roots.cgroup
        elif controller in controllers.split(","):
            mount = roots.cgroup / controller
        else:
            continue
        folder = mount / path.lstrip("/")
        yield from (each for each in (folder, *folder.parents) if each.is_relative_to(mount) and each.is_dir())


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _number(*paths: Path) -> float:
    """The number in the first of the files that has one; infinite when none does."""
    for path in paths:
        words = _words(path)
        if words and words[0].lstrip("-").isdigit():
            return float(words[0])
    return math.inf
