"""What processes weigh now: private memory at every look, mapped weights less often because they cost more to read."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sizewise.backends.local import procfs

MAPPED_EVERY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    pid: int
    whole_tree: bool = False
    """Count all descendants: a server the user brought may have workers."""
    mapped: bool = False
    """Look for mapped weights: a replica that is ready."""


@dataclass(slots=True)
class Weight:
    private_bytes: int = 0
    peak_bytes: int = 0
    mapped_bytes: int = 0
    mapped_at_s: float | None = None


class MemoryReader:
    """Reads block for a fraction of a millisecond per process, mapped ones for several: call it from a thread."""

    def __init__(self, store: Path, now_s: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._now_s = now_s
        self._weights: dict[int, Weight] = {}

    def read(self, watched: Iterable[Watched]) -> dict[int, Weight]:
        """By pid. What is no longer watched is forgotten, so a pid that comes again begins anew."""
        now_s = self._now_s()
        self._weights = {each.pid: self._read(each, now_s) for each in watched}
        return self._weights

    def _read(self, each: Watched, now_s: float) -> Weight:
        weight = self._weights.get(each.pid, Weight())
        pids = procfs.process_tree(each.pid) if each.whole_tree else (each.pid,)
        private = sum(procfs.rss_anon_bytes(pid) for pid in pids)
        mapped, mapped_at_s = weight.mapped_bytes, weight.mapped_at_s
        if each.mapped and (mapped_at_s is None or now_s - mapped_at_s >= MAPPED_EVERY_S):
            mapped, mapped_at_s = procfs.mapped_bytes(each.pid, self._store), now_s
        return Weight(
            private_bytes=private,
            peak_bytes=max(private, weight.peak_bytes),
            mapped_bytes=mapped,
            mapped_at_s=mapped_at_s,
        )
