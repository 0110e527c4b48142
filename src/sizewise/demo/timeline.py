"""What ran when: one sample of every model's replicas a second, drawn as a line of blocks."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

LEVELS = "·▁▃▅▇█"
"""None, then one block step for each replica; a load in progress is drawn apart."""
LOADING = "…"


class Timeline:
    """Ready and loading replicas of each model over the run."""

    def __init__(self) -> None:
        self._samples: dict[str, list[tuple[float, int, int]]] = defaultdict(list)

    def add(self, at_s: float, model: str, *, ready: int, loading: int) -> None:
        self._samples[model].append((at_s, ready, loading))

    def line(self, model: str, *, seconds: float, width: int) -> str:
        """``width`` characters for ``seconds``: the most replicas ready in each slice, blank where nothing was seen."""
        slices: list[list[tuple[int, int]]] = [[] for _ in range(width)]
        for at_s, ready, loading in self._samples[model]:
            index = int(at_s / seconds * width)
            if 0 <= index < width:
                slices[index].append((ready, loading))
        seen = max((i for i, found in enumerate(slices) if found), default=-1)
        for i in range(1, seen):
            slices[i] = slices[i] or slices[i - 1]  # a look that came late changes nothing
        return "".join(_mark(found) for found in slices)

    def peak(self, model: str) -> int:
        return max((ready for _, ready, _ in self._samples[model]), default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One second of the run, for whoever shows it."""

    status: dict[str, Any]
    timeline: Timeline
    at_s: float
    seconds: float
    answered: int
    total: int


def _mark(found: list[tuple[int, int]]) -> str:
    if not found:
        return " "
    ready = max(ready for ready, _ in found)
    if ready == 0 and any(loading for _, loading in found):
        return LOADING
    return LEVELS[min(ready, len(LEVELS) - 1)]
