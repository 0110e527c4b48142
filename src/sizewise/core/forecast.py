"""What will be asked for when a replica that is started now is ready. Only ever a floor, and only while it is right.

Two guesses of the rate one lead ahead are made side by side and are tested against what came: the present rate (what
a reactive rule goes by), and the present rate carried along the seasonal profile. Each has its own upper quantile,
from its own past errors. The second is used while its loss is clearly the smaller one.

Sources: lead and use, reference design, sections 3.2 and 3.9; errors at a quantile, split conformal prediction with an
adaptive level (Gibbs and Candes 2021, arXiv:2106.00170); loss, Koenker and Bassett 1978; level, the newsvendor's ratio.
"""

import math
from dataclasses import dataclass, field, replace

from sizewise.core.seasonal import DAY_S, Season, usual_per_s, watched

LEAST_LEAD_S = 15.0
"""What is ready sooner follows the present rate quickly enough (reference design, 3.9)."""

GUESSES_PER_LEAD = 4.0
ERRORS_KEPT = 64
ENOUGH_ERRORS = 20
SKILL = 0.05
SURE = 2.0
"""The loss of the forecast must be smaller by this share, and by this many standard errors: a coin toss must not start
replicas. Guesses of one lead overlap, so only one of them counts as a trial."""

LEVEL_STEP = 0.02
LEAST_LEVEL, MOST_LEVEL = 0.5, 0.995
MISSES = 2
"""Floors in a row that nobody needed, after which the next is halved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesser:
    """One way of guessing: its errors, the quantile of them that is added, and its decayed pinball loss."""

    errors: tuple[float, ...] = ()
    level: float | None = None
    loss_per_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """Made some time ago for ``for_s``: plain rates of both ways, and the rates at their quantiles."""

    for_s: float
    present: float
    present_high: float
    seasonal: float
    seasonal_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastState:
    """What is remembered of one model. Bounded: a season, ``ERRORS_KEPT`` errors for each way, a lead of guesses."""

    season: Season = field(default_factory=Season)
    guesses: tuple[Guess, ...] = ()
    present: Guesser = field(default_factory=Guesser)
    seasonal: Guesser = field(default_factory=Guesser)
    misses: int = 0
    faith: float = 1.0
    """Halved whenever ``MISSES`` floors in a row were not needed, whole again once one was."""
    judged: int = 0
    guessed_at_s: float = -math.inf
    lead_s: float = 0.0

    @property
    def skill(self) -> float:
        """Share by which the forecast's loss is below that of the present rate."""
        loss = self.present.loss_per_s
        return 1.0 - self.seasonal.loss_per_s / loss if loss > 0 else 0.0

    @property
    def proven(self) -> bool:
        if self.judged < ENOUGH_ERRORS:
            return False
        trials = min(self.judged, DAY_S * GUESSES_PER_LEAD / self.lead_s) / GUESSES_PER_LEAD
        return self.skill >= max(SKILL, SURE / math.sqrt(trials))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at a model."""

    now_s: float
    unix_s: float
    arrivals: float
    rate_per_s: float
    lead_s: float
    """Until a replica that is started now can answer, at the 95th percentile of its load."""
    quantile: float
    """Of the demand at which a shortage costs as much as a surplus: ``critical_ratio``."""


def critical_ratio(*, short_cost: float, spare_cost: float) -> float:
    """Quantile of demand to be ready for: c_u / (c_u + c_o), within 0.5 and 0.995. Source: Arrow et al. 1951.

    >>> critical_ratio(short_cost=9.0, spare_cost=1.0)
    0.9
    """
    total = short_cost + spare_cost
    ratio = short_cost / total if total > 0 else LEAST_LEVEL
    return min(MOST_LEVEL, max(LEAST_LEVEL, ratio))


def updated(state: ForecastState, seen: Seen) -> ForecastState:
    """The state after a look: the season goes on, guesses whose time has come are judged, and a new one is made."""
    if seen.lead_s < LEAST_LEAD_S:
        return state if state.guesses == () else replace(state, guesses=())
    season = watched(state.season, unix_s=seen.unix_s, arrivals=seen.arrivals)
    if season is not state.season:
        state = replace(state, season=season)
    if not season.rates_per_s:
        return state
    for guess in state.guesses:
        if guess.for_s <= seen.now_s:
            state = _judged(state, guess, seen)
    if seen.now_s - state.guessed_at_s < seen.lead_s / GUESSES_PER_LEAD:
        return state
    seasonal = _carried(season, seen)
    if seasonal is None:
        return replace(state, guessed_at_s=seen.now_s, lead_s=seen.lead_s)
    guess = Guess(
        for_s=seen.now_s + seen.lead_s,
        present=seen.rate_per_s,
        present_high=_raised(seen.rate_per_s, state.present, seen.quantile),
        seasonal=seasonal,
        seasonal_high=_raised(seasonal, state.seasonal, seen.quantile),
    )
    most = int(GUESSES_PER_LEAD) + 1
    return replace(state, guesses=(*state.guesses[-most:], guess), guessed_at_s=seen.now_s, lead_s=seen.lead_s)


def floor_per_s(state: ForecastState, now_s: float) -> float:
    """Rate to be ready for besides the present one; 0 while the forecast has not shown that it is worth following.

    The highest of the guesses whose time has not passed: what was promised for then must be there until then.
    """
    if not state.proven:
        return 0.0
    ahead = [g for g in state.guesses if g.for_s > now_s]
    return max((g.present + state.faith * (g.seasonal_high - g.present) for g in ahead), default=0.0)


def _carried(season: Season, seen: Seen) -> float | None:
    """The present rate one lead on: in proportion where the season falls, by the difference where it rises."""
    now, then = usual_per_s(season, seen.unix_s), usual_per_s(season, seen.unix_s + seen.lead_s)
    if now is None or then is None:
        return None
    share = min(1.0, then / now) if now > 0 else 1.0
    return max(0.0, then + share * (seen.rate_per_s - now))


def _raised(rate: float, guesser: Guesser, quantile: float) -> float:
    if not guesser.errors:
        return rate
    ordered = sorted(guesser.errors)
    level = quantile if guesser.level is None else guesser.level
    # The conformal rank: of n errors the ceil((n + 1) q)-th smallest
    rank = math.ceil((len(ordered) + 1) * level) - 1
    return max(0.0, rate + ordered[min(max(rank, 0), len(ordered) - 1)])


def _judged(state: ForecastState, guess: Guess, seen: Seen) -> ForecastState:
    rest = tuple(g for g in state.guesses if g is not guess)
    if seen.now_s - guess.for_s > seen.lead_s / GUESSES_PER_LEAD:
        return replace(state, guesses=rest)  # nobody looked when its time had come
    came = seen.rate_per_s
    rise = guess.seasonal_high - guess.present
    needed = rise <= 0 or came >= guess.present + rise / 2
    misses = 0 if needed else state.misses + 1
    faith = 1.0 if needed and rise > 0 else state.faith
    if misses >= MISSES:
        misses, faith = 0, state.faith / 2
    # A mean at first, then one that remembers about a day: what comes once a day must not be forgotten in between
    weight = max(1 / (state.judged + 1), seen.lead_s / GUESSES_PER_LEAD / DAY_S)
    judge = _Judge(quantile=seen.quantile, weight=weight)
    return replace(
        state,
        guesses=rest,
        present=judge.learned(state.present, came - guess.present, came - guess.present_high),
        seasonal=judge.learned(state.seasonal, came - guess.seasonal, came - guess.seasonal_high),
        judged=state.judged + 1,
        misses=misses,
        faith=faith,
    )


@dataclass(frozen=True, slots=True)
class _Judge:
    quantile: float
    weight: float

    def learned(self, guesser: Guesser, error: float, above: float) -> Guesser:
        """``error`` of the plain guess; ``above`` the guess at its quantile, which is what a loss is counted for."""
        q = self.quantile
        level = q if guesser.level is None else guesser.level
        missed = 1.0 if above > 0 else 0.0
        loss = q * above if above > 0 else (q - 1.0) * above
        return Guesser(
            errors=(*guesser.errors, error)[-ERRORS_KEPT:],
            level=min(MOST_LEVEL, max(LEAST_LEVEL, level + LEVEL_STEP * (missed - (1.0 - q)))),
            loss_per_s=guesser.loss_per_s + self.weight * (loss - guesser.loss_per_s),
        )
