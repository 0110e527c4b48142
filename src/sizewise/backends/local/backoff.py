"""How long to wait before something that died is started again."""

from dataclasses import dataclass

FIRST_S = 0.2
LONGEST_S = 30.0
CALM_S = 30.0
"""Ready for this long: the next death counts as the first one."""


@dataclass(slots=True)
class Backoff:
    """At once the first time, then 0.2 s doubling to 30 s.

    >>> backoff = Backoff()
    >>> [backoff.next_s(ready_for_s=1.0) for _ in range(4)], backoff.next_s(ready_for_s=31.0)
    ([0.0, 0.2, 0.4, 0.8], 0.0)
    """

    deaths: int = 0

    def next_s(self, *, ready_for_s: float, at_once: bool = True) -> float:
        """Seconds to wait now. ``at_once`` False: even the first try again waits (what failed will fail again)."""
        if ready_for_s >= CALM_S:
            self.deaths = 0
        if self.deaths == 0 and not at_once:
            self.deaths = 1
        wait_s = 0.0 if self.deaths == 0 else min(FIRST_S * 2.0 ** min(self.deaths - 1, 16), LONGEST_S)
        self.deaths += 1
        return wait_s
