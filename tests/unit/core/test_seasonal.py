import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.seasonal import BIN_S, BINS, DAY_S, Season, bin_of, usual_per_s, watched

MONDAY_S = 4 * DAY_S
"""1970-01-05."""


def after(season: Season, *, start_s: float, rate: float, for_s: float, every_s: float = 60.0) -> Season:
    arrivals = season.arrivals
    for k in range(int(for_s / every_s) + 1):
        season = watched(season, unix_s=start_s + k * every_s, arrivals=arrivals + k * every_s * rate)
    return season


def test_a_bin_is_remembered_once_it_is_over() -> None:
    season = after(Season(), start_s=MONDAY_S, rate=4.0, for_s=BIN_S - 60)
    assert season.rates_per_s == ()
    season = after(Season(), start_s=MONDAY_S, rate=4.0, for_s=BIN_S)
    assert season.rates_per_s[0] == pytest.approx(4.0)
    assert len(season.rates_per_s) == 2 * BINS


def test_newer_days_count_more() -> None:
    season = after(Season(), start_s=MONDAY_S, rate=10.0, for_s=BIN_S)
    season = after(season, start_s=MONDAY_S + DAY_S, rate=0.0, for_s=BIN_S)
    assert season.rates_per_s[0] == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("unix_s", "expected"),
    [
        pytest.param(MONDAY_S, 0, id="monday begins"),
        pytest.param(MONDAY_S + DAY_S - 1, BINS - 1, id="monday ends"),
        pytest.param(MONDAY_S + 5 * DAY_S, BINS, id="saturday is a day of its own"),
        pytest.param(MONDAY_S + 7 * DAY_S, 0, id="monday again"),
    ],
)
def test_bins(unix_s: float, expected: int) -> None:
    assert bin_of(unix_s) == expected


@pytest.mark.parametrize(
    ("gap_s", "arrivals"),
    [
        pytest.param(3 * BIN_S, 5000.0, id="nobody watched for a while"),
        pytest.param(-100.0, 5000.0, id="the clock was set back"),
        pytest.param(BIN_S, 3.0, id="the counter began anew"),
    ],
)
def test_what_was_not_watched_belongs_to_no_bin(gap_s: float, arrivals: float) -> None:
    season = Season(since_s=MONDAY_S, arrivals=1000.0)
    assert watched(season, unix_s=MONDAY_S + gap_s, arrivals=arrivals).rates_per_s == ()


def test_between_the_middles_of_two_bins_it_is_a_straight_line() -> None:
    rates = [-1.0] * (2 * BINS)
    rates[3], rates[4] = 10.0, 20.0
    season = Season(rates_per_s=tuple(rates))
    middle_s = MONDAY_S + 3.5 * BIN_S
    assert usual_per_s(season, middle_s) == pytest.approx(10.0)
    assert usual_per_s(season, middle_s + BIN_S / 2) == pytest.approx(15.0)
    assert usual_per_s(season, middle_s - 1) is None, "the bin before was never seen"
    assert usual_per_s(Season(), middle_s) is None


@given(st.lists(st.tuples(st.floats(0, 2e9), st.floats(0, 1e9)), max_size=50))
def test_it_never_grows_beyond_a_week_s_two_kinds_of_day(looks: list[tuple[float, float]]) -> None:
    season = Season()
    for unix_s, arrivals in looks:
        season = watched(season, unix_s=unix_s, arrivals=arrivals)
    assert len(season.rates_per_s) in {0, 2 * BINS}
    assert all(rate == -1.0 or rate >= 0 for rate in season.rates_per_s)
