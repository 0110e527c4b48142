"""Which requests are taken: a bounded queue, and no work on answers that would come too late.

These classes are on the path of every request, so they keep plain attributes and do a few operations each. They are
written to by one thread only, and are told the time rather than reading it.
"""

import math
from dataclasses import dataclass

MEMORY = 32.0
"""Completions that the measured drain rate rests on; older ones fade."""

OUTLIER = 4.0
"""One completion counts as no more than this many times what is usual: a single stall must not shed what follows."""

EVIDENCE = 2.0
"""The drain rate is believed once work up to this share of what it calls too much has been seen leaving: where less
was seen, larger batches may well do better. Where finding out takes longer than the SLO, it is believed as soon as
requests queue here: then batches are full."""

DEEPER = 8.0
"""Completions that work deeper than usual is known by: at three times its capacity a model has no more time."""

TESTED = 0.25
"""Share of the SLO from which on an expected time tells, by what came of it, how good expectations are. Shorter ones
matter to nobody."""

HEED = 4.0
"""An answer later than the worst that is kept in mind moves it by one such part of the difference: one straggler says
little, the many that a slowdown delays say it all."""

WORST_MAX = 2.0
"""More than half of the SLO is never kept back."""

FORGET = 200.0
"""The worst fades over so many times the work that was ahead, which is about so many waits: all that one slowdown
delays is then less than one in a hundred."""

AIM = 0.95
"""Share of the SLO within which answers are to leave here: the client's side of a request is not seen."""

SHORT_QUEUE = 2
"""Requests per ready replica that are never too many: one in work and one behind it."""

RETRY_MAX_S = 60


@dataclass(frozen=True, slots=True)
class Shed:
    """A request refused on arrival: 429 when the queue is full, 503 when the answer would be late."""

    status: int
    retry_after_s: int
    """Whole seconds, at least 1: the value of ``Retry-After``."""


class Admission:
    """Admits or sheds the requests of one model.

    ``slo_s`` None leaves the queue bound and the timeout only. ``service_s`` is what one request alone is expected to
    take, in seconds; it is corrected from completions. Shedding the doomed on arrival keeps a short overload from
    poisoning what comes after it; the predicted wait is the work ahead over the measured drain rate (Little's law:
    each completion shows n requests ahead of it or beside it leaving in t seconds). By how much the slowest answers of
    late have exceeded what was expected of them on arrival is kept back, so that of those taken at the edge hardly any
    is late.
    """

    __slots__ = ("_ahead", "_each_s", "_recovering", "_worst", "max_queue", "service_s", "slo_s", "timeout_s")

    def __init__(self, *, max_queue: int, slo_s: float | None, service_s: float, timeout_s: float) -> None:
        self.max_queue = max_queue
        self.slo_s = slo_s
        self.service_s = max(service_s, 1e-6)
        self.timeout_s = timeout_s
        self._ahead = 1.0
        self._each_s = self.service_s
        self._worst = 1.0
        """Of answers to what they were expected to take."""
        self._recovering = False

    def check(self, queued: int, outstanding: int, ready: int) -> Shed | None:
        """None to take the request. ``queued`` wait here, ``outstanding`` are at ``ready`` replicas.

        One that would start at once is always taken. So is one for a model without a ready replica, within the queue
        bound; and until what was held meanwhile has been worked off, lateness refuses nobody.
        """
        if queued >= self.max_queue:
            return Shed(429, self.retry_after_s(queued + outstanding))
        if ready <= 0:
            self._recovering = True
            return None
        ahead = queued + outstanding
        if self._recovering and queued == 0:
            self._recovering = False
        if self.slo_s is None or ahead < SHORT_QUEUE * ready or self._recovering:
            return None
        limit_s = AIM * self.slo_s / self._worst
        if self.expected_s(ahead) <= limit_s:
            return None
        soon_known = queued == 0 or MEMORY * self._each_s <= self.slo_s
        if soon_known and self.expected_s(EVIDENCE * self._ahead) < limit_s:
            return None
        return Shed(503, self.retry_after_s(ahead))

    def expected_s(self, ahead: float) -> float:
        """What a request that arrives now is expected to take with this work ahead of it."""
        return ahead * self._each_s + self.service_s

    def done(self, ahead: int, expected_s: float, seconds: float) -> None:
        """Tells of an answer: ``ahead`` were queued or outstanding when it arrived, when it was expected to take
        ``expected_s``; ``seconds`` it took in all.

        Requests that were held for a cold model are not to be told: they waited for a load, not for work.
        """
        if not 0.0 <= seconds < math.inf:
            return
        n = ahead + 1
        tested = self.slo_s is not None and expected_s >= TESTED * self.slo_s
        if tested and seconds > self._worst * expected_s:
            self._worst += (min(seconds / expected_s, WORST_MAX) - self._worst) / HEED
        else:
            self._worst -= (self._worst - 1.0) / (FORGET * n)
        self._ahead += (n - self._ahead) / (DEEPER if n > self._ahead else MEMORY)
        self._each_s += (min(max(seconds, 1e-6) / n, OUTLIER * self._each_s) - self._each_s) / MEMORY
        if ahead == 0:
            self.service_s += (max(seconds, 1e-6) - self.service_s) / 16.0

    @property
    def drain_per_s(self) -> float:
        """Requests per second that leave, as measured while about ``work_ahead`` were there."""
        return 1.0 / self._each_s

    @property
    def work_ahead(self) -> float:
        """Work ahead of the requests that the drain rate was measured with, the deeper sooner."""
        return self._ahead

    def retry_after_s(self, ahead: int) -> int:
        """Seconds until the work ahead is done, rounded up, between 1 and 60."""
        return min(RETRY_MAX_S, max(1, math.ceil(ahead / self.drain_per_s)))

    def deadline_s(self, now_s: float, timeout_s: float | None = None) -> float:
        """When a request that arrives now is given up: after its own timeout, else the model's."""
        return now_s + (self.timeout_s if timeout_s is None else timeout_s)
