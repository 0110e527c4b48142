"""How often a call is repeated, and when larger batches stop paying."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.profiles import BatchPoint
from sizewise.profiling.timing import MAX_BATCH, CurveBudget, goes_on, point, quantile, sample


class Watch:
    """A clock that each call moves on by ``call_s``."""

    def __init__(self, call_s: float) -> None:
        self.call_s = call_s
        self.at_s = 0.0

    def now_s(self) -> float:
        return self.at_s

    def call(self) -> None:
        self.at_s += self.call_s


@pytest.mark.parametrize(
    ("call_s", "calls"),
    [
        pytest.param(0.0001, 300, id="quick: as often as is useful"),
        pytest.param(0.0625, 8, id="for half a second"),
        pytest.param(3.0, 5, id="slow: a few all the same"),
    ],
)
def test_calls_are_bounded_in_number_and_time(call_s: float, calls: int) -> None:
    watch = Watch(call_s)
    samples = sample(watch.call, CurveBudget(), watch.now_s)
    assert len(samples) == calls
    assert samples == pytest.approx([call_s] * calls)


def curve(seconds: Callable[[int], float], sizes: int) -> list[BatchPoint]:
    return [BatchPoint(batch=2**i, p50_s=seconds(2**i), p95_s=seconds(2**i)) for i in range(sizes)]


@pytest.mark.parametrize(
    ("points", "more"),
    [
        pytest.param(curve(lambda n: 0.01, 1), True, id="one point: nothing is known yet"),
        pytest.param(curve(lambda n: 0.01 * n, 2), True, id="one doubling without a gain may be noise"),
        pytest.param(curve(lambda n: 0.01 * n, 3), False, id="two doublings without a gain"),
        pytest.param(curve(lambda n: 0.01 + 0.001 * n, 6), True, id="still gaining"),
        pytest.param(curve(lambda n: 1.0 + 0.2 * n, 4), False, id="too slow for anybody"),
        pytest.param(curve(lambda n: 0.001, MAX_BATCH.bit_length()), False, id="the largest size"),
    ],
)
def test_batches_grow_while_they_pay(points: list[BatchPoint], more: bool) -> None:
    assert goes_on(points, CurveBudget(slow_s=2.0), left_s=60.0) is more


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_lies_among_the_samples(samples: list[float], share: float) -> None:
    assert min(samples) <= quantile(samples, share) <= max(samples)


@given(st.lists(st.floats(1e-9, 10), min_size=1, max_size=50))
def test_the_tail_is_not_below_the_median(samples: list[float]) -> None:
    measured = point(4, samples)
    assert measured.p95_s >= measured.p50_s
    assert measured.samples == len(samples)


def test_a_point_is_not_begun_that_time_does_not_suffice_for():
    points = [BatchPoint(batch=1, p50_s=0.1, p95_s=0.1)]
    budget = CurveBudget(least=5)
    assert goes_on(points, budget, left_s=1.1)
    assert not goes_on(points, budget, left_s=0.9)
