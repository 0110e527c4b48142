"""What a model is usually asked for at this time of day: one rate for each stretch of a day, apart for weekends.

Source: seasonal profile with exponential forgetting over days, as in Holt-Winters (Winters 1960) without its trend:
the level comes from live figures. Days are those of UTC.
"""

import math
from dataclasses import dataclass

BIN_S = 300.0
"""Long enough for a rate to be more than noise, short enough to tell when a day begins."""

DAY_S = 86_400.0
BINS = int(DAY_S / BIN_S)
NEWEST_WEIGHT = 0.3
"""Of the newest day in a bin's mean: half of what is remembered is from the last two days."""

COVERED = 0.5
"""A bin counts when at least this share of it was watched."""

_EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday; weeks begin on Monday."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Season:
    """``rates_per_s`` by bin, weekdays first and then weekends; empty before the first bin, -1 where none was seen."""

    rates_per_s: tuple[float, ...] = ()
    since_s: float | None = None
    """Unix time at which the bin that is being watched, or what was seen of it, began."""
    arrivals: float = 0.0
    """Counted up to ``since_s``."""


def watched(season: Season, *, unix_s: float, arrivals: float) -> Season:
    """The season after a look at a counter of arrivals, which only grows. The same one while its bin lasts."""
    since_s = season.since_s
    if since_s is None or not 0 <= unix_s - since_s <= 2 * BIN_S or arrivals < season.arrivals:
        # First look, a clock that was set, or a gap: what came in between belongs to no bin
        return Season(rates_per_s=season.rates_per_s, since_s=unix_s, arrivals=arrivals)
    if bin_of(unix_s) == bin_of(since_s):
        return season
    rates = season.rates_per_s
    watched_s = unix_s - since_s
    if watched_s >= COVERED * BIN_S:
        rate, place = (arrivals - season.arrivals) / watched_s, bin_of(since_s)
        rates = rates or (-1.0,) * (2 * BINS)
        old = rates[place]
        new = rate if old < 0 else old + NEWEST_WEIGHT * (rate - old)
        rates = (*rates[:place], new, *rates[place + 1 :])
    return Season(rates_per_s=rates, since_s=unix_s, arrivals=arrivals)


def usual_per_s(season: Season, unix_s: float) -> float | None:
    """The usual rate at a moment, on a straight line between the middles of two bins; None where one was never seen."""
    if not season.rates_per_s:
        return None
    middle = (unix_s - BIN_S / 2) / BIN_S
    share = middle - math.floor(middle)
    before = season.rates_per_s[bin_of(unix_s - BIN_S / 2)]
    after = season.rates_per_s[bin_of(unix_s + BIN_S / 2)]
    return None if before < 0 or after < 0 else before + share * (after - before)


def bin_of(unix_s: float) -> int:
    """Which bin a moment belongs to.

    >>> bin_of(0.0), bin_of(299.0), bin_of(300.0), bin_of(2 * 86_400.0)
    (0, 0, 1, 288)
    """
    day, second = divmod(unix_s, DAY_S)
    weekend = (int(day) + _EPOCH_WEEKDAY) % 7 >= 5
    return BINS * weekend + min(BINS - 1, int(second / BIN_S))
