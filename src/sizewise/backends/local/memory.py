"""What processes weigh now: anonymous memory at every look; what is shared and what is mapped less often, because
that costs more to read.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sizewise.backends.local import procfs
from sizewise.system.memory import mapped_bytes, rss_anon_bytes, shared_anon_bytes

SHARED_EVERY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    pid: int
    whole_tree: bool = False
    """Count all descendants: a server the user brought may have workers."""
    replica: bool = False
    """Look for mapped weights, and do not charge what it still shares with its warm parent."""
    ready: bool = False
    """Loaded: what it shares and maps changes little from here on."""


@dataclass(slots=True)
class Weight:
    private_bytes: int = 0
    peak_bytes: int = 0
    mapped_bytes: int = 0
    shared_bytes: int = 0
    looked_at_s: float | None = None
    """When ``mapped_bytes`` and ``shared_bytes`` were read."""
    ready: bool = False


class MemoryReader:
    """Reads block for a fraction of a millisecond per process, mapped ones for several: call it from a thread."""

    def __init__(self, files: Path, now_s: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._now_s = now_s
        self._weights: dict[int, Weight] = {}

    def read(self, watched: Iterable[Watched]) -> dict[int, Weight]:
        """By pid. What is no longer watched is forgotten, so a pid that comes again begins anew."""
        now_s = self._now_s()
        self._weights = {each.pid: self._read(each, now_s) for each in watched}
        return self._weights

    def _read(self, each: Watched, now_s: float) -> Weight:
        before = self._weights.get(each.pid, Weight())
        pids = procfs.process_tree(each.pid) if each.whole_tree else (each.pid,)
        anonymous = sum(rss_anon_bytes(pid) for pid in pids)
        mapped, shared, looked_at_s = before.mapped_bytes, before.shared_bytes, before.looked_at_s
        if each.replica and _due(each, before, now_s):
            mapped, shared, looked_at_s = mapped_bytes(self._files, each.pid), shared_anon_bytes(each.pid), now_s
        private = max(0, anonymous - shared)
        return Weight(
            private_bytes=private,
            peak_bytes=max(private, before.peak_bytes),
            mapped_bytes=mapped,
            shared_bytes=shared,
            looked_at_s=looked_at_s,
            ready=each.ready,
        )


def _due(each: Watched, before: Weight, now_s: float) -> bool:
    """At first sight, when it has become ready, and now and then."""
    looked_at_s = before.looked_at_s
    return looked_at_s is None or each.ready != before.ready or now_s - looked_at_s >= SHARED_EVERY_S
