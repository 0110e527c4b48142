"""How many rows one call of a replica takes: as many as pay, found out by trying.

A profile was taken on a quieter or a busier machine, or not at all, and which batch pays depends on the model: dense
layers read their weights once for all rows, while activations that leave the processor's cache make rows of a large
batch dearer than single ones. The replica itself sees every call, so it compares sizes under the load that it has.
"""

from statistics import median

BATCH_GAIN = 0.10
"""A larger batch must raise throughput by this much; otherwise it only makes requests wait for each other."""

FIRST_BATCH = 16
"""Rows to begin with where more are allowed: dense models have most of their gain, others lose little."""

SAMPLES = 7
"""Calls of each of two sizes that are compared, in turns, so that what else the machine does falls on both."""

PATIENCE = 6 * SAMPLES
"""Calls within which a comparison ends, or is given up: too little waits for the larger of its sizes."""

PAUSE = (32, 4096)
"""Calls with a choice before the first comparison, which also lets a new session warm up, and after one that changed
nothing: doubling up to the latter."""


class BatchSize:
    """The largest batch that pays, up to ``most`` rows. Neighboring sizes are compared now and then."""

    __slots__ = ("_calls", "_larger", "_pair", "_pause", "_row_s", "most", "size")

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.size = min(self.most, FIRST_BATCH)
        self._larger = True
        """Whether the next comparison is with a larger size, if so many wait."""
        self._pair = (0, 0)
        """Sizes that are being compared, the smaller one first; zeros: none."""
        self._row_s: dict[int, list[float]] = {}
        self._calls = PAUSE[0]
        """Calls with a choice before the next comparison; of one that is under way, before it is given up."""
        self._pause = PAUSE[0]

    def next(self, waiting: int) -> int:
        """Rows that the next call takes at most; ``waiting`` requests are there."""
        if waiting < 2 or self.most < 2:
            return self.size
        self._calls -= 1
        if self._calls < 0:
            if self._pair[1]:
                self._end(self.size)
            else:
                self._begin(waiting)
        small, large = self._pair
        if not large:
            return self.size
        if waiting >= large and len(self._row_s[large]) <= len(self._row_s[small]):
            return large
        return small if waiting >= small and len(self._row_s[small]) < SAMPLES else self.size

    def called(self, rows: int, seconds: float) -> None:
        """Tells of a call."""
        samples = self._row_s.get(rows)
        if samples is None:
            return
        samples.append(seconds / rows)
        small, large = self._pair
        if min(map(len, self._row_s.values())) >= SAMPLES:
            pays = median(self._row_s[small]) >= (1 + BATCH_GAIN) * median(self._row_s[large])
            self._end(max(self.size, large) if pays else small)

    def never(self) -> None:
        """Rows of this model cannot be computed together after all."""
        self.most = 1
        self._end(1)

    def _begin(self, waiting: int) -> None:
        """Compare with what is next above, else with what is next below; what waits bounds both."""
        above = self._above(self.size)
        if self._larger and self.size < above <= waiting:
            pair = (self.size, above)
        else:
            large = self.size if waiting >= self.size else 1 << (waiting.bit_length() - 1)
            pair = (_below(large), large)
        if pair[0] == pair[1]:
            self._end(self.size)
            return
        self._pair, self._row_s, self._calls = pair, {size: [] for size in pair}, PATIENCE

    def _above(self, size: int) -> int:
        return min(4 if size == 1 else 2 * size, self.most)

    def _end(self, better: int) -> None:
        if better == self.size:
            self._larger = not self._larger
            self._calls, self._pause = self._pause, min(2 * self._pause, PAUSE[1])
        else:
            self._calls, self._pause = 0, PAUSE[0]
        self.size, self._pair, self._row_s = better, (0, 0), {}


def _below(size: int) -> int:
    """Two are passed over: one row alone often has a kernel of its own, and two show too little of what more bring."""
    return 1 if size <= 4 else size // 2
