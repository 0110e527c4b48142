"""The cheapest schedules against trying all of them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.simulation.bounds.rightsizing import Prices, SlotPenalties, at_least, cheapest_before, schedule


def all_schedules(slots: int, most: int) -> list[np.ndarray]:
    return [np.array(counts) for counts in itertools.product(range(most + 1), repeat=slots)]


def cost_of(counts: np.ndarray, values: np.ndarray, prices: Prices) -> float:
    rises = np.maximum(np.diff(counts), 0).sum()
    return float(prices.hold * counts.sum() + prices.start * rises + values[np.arange(len(counts)), counts].sum())


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=5),
    st.floats(0.1, 10),
    st.floats(0, 50),
)
def test_meeting_every_slot_is_as_cheap_as_any_schedule(needs: list[int], hold: float, start: float) -> None:
    prices = Prices(hold=hold, start=start)
    penalties = at_least(np.array(needs), most=3)
    found = schedule(penalties, prices)
    best = min(cost_of(counts, penalties.values, prices) for counts in all_schedules(len(needs), 3))
    assert found.cost == pytest.approx(best)
    assert np.all(found.counts >= needs)
    assert found.paid(prices) == pytest.approx(found.cost)


@given(st.data(), st.integers(1, 4), st.floats(0, 5))
def test_penalties_of_any_kind_are_weighed(data: st.DataObject, slots: int, start: float) -> None:
    flat = data.draw(st.lists(st.floats(0, 20), min_size=slots * 3, max_size=slots * 3))
    values = np.array(flat).reshape(slots, 3)
    prices = Prices(hold=1.0, start=start)
    found = schedule(SlotPenalties(values), prices)
    assert found.cost == pytest.approx(min(cost_of(c, values, prices) for c in all_schedules(slots, 2)))
    assert cost_of(found.counts, values, prices) == pytest.approx(found.cost)


def test_a_gap_is_bridged_when_that_is_cheaper_than_starting_again() -> None:
    needs = np.array([2, 0, 0, 2])
    assert schedule(at_least(needs, 2), Prices(hold=1, start=3)).counts.tolist() == [2, 2, 2, 2]
    assert schedule(at_least(needs, 2), Prices(hold=1, start=1)).counts.tolist() == [2, 0, 0, 2]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8), st.floats(0, 10))
def test_the_cheapest_way_from_any_number_to_any_other(costs: list[float], start: float) -> None:
    found, came_from = cheapest_before(np.array(costs), start)
    for k in range(len(costs)):
        ways = [cost + start * max(0, k - j) for j, cost in enumerate(costs)]
        assert found[k] == pytest.approx(min(ways))
        assert ways[came_from[k]] == pytest.approx(min(ways))


def test_a_need_beyond_what_is_allowed_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 5 replicas"):
        at_least(np.array([1, 5]), most=4)
