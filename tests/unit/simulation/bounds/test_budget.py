"""One budget of late requests over slots and models: never above what a feasible schedule costs."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizewise.core.sizing import Capacity
from sizewise.core.slo import Slo
from sizewise.simulation.bounds.budget import Candidate, cheapest
from sizewise.simulation.bounds.lateness import CertainLateness, ExpectedLateness, Slots
from sizewise.simulation.bounds.rightsizing import Prices

SLO = Slo(quantile=0.99, latency_s=0.5)
CAPACITY = Capacity(
    batch=1, service_s=0.2, service_p95_s=0.25, per_s=5.0, spread2=0.02, slo=SLO, slack_s=SLO.latency_s - 0.25
)
MOST = 2


def certain(arrivals: list[int], *, seconds: float = 2.0, work_s: float = 0.2) -> CertainLateness:
    demand = Slots(seconds=seconds, arrivals=np.array(arrivals, float), most=MOST)
    return CertainLateness(demand, goal_s=0.5, works_s=work_s)


def brute(candidates: list[Candidate], late_share: float) -> float:
    allowed = late_share * sum(each.lateness.arrived for each in candidates)
    per_model = [
        [
            (each.lateness.count(np.array(c)), _paid(np.array(c), each.prices))
            for c in itertools.product(range(MOST + 1), repeat=3)
        ]
        for each in candidates
    ]
    return min(
        sum(paid for _, paid in choice)
        for choice in itertools.product(*per_model)
        if sum(late for late, _ in choice) <= allowed + 1e-9
    )


def _paid(counts: np.ndarray, prices: Prices) -> float:
    return float(prices.hold * counts.sum() + prices.start * np.maximum(np.diff(counts), 0).sum())


@settings(max_examples=25)
@given(
    st.lists(st.lists(st.integers(0, 20), min_size=3, max_size=3), min_size=1, max_size=2),
    st.sampled_from([0.0, 0.05, 0.2, 0.6]),
    st.floats(0, 4),
)
def test_never_above_the_cheapest_feasible_schedule(arrivals: list[list[int]], share: float, start: float) -> None:
    candidates = [
        Candidate(lateness=certain(each), prices=Prices(hold=2.0, start=start + i)) for i, each in enumerate(arrivals)
    ]
    bound = cheapest(candidates, late_share=share)
    if bound.achieved is None:
        return  # two replicas are too few whatever one does
    best = brute(candidates, share)
    assert bound.cost <= best + 1e-6
    assert bound.achieved >= best - 1e-6
    assert bound.late is not None
    assert bound.late <= share * sum(map(sum, arrivals)) + 1e-6


def test_where_lateness_is_forbidden_every_slot_has_what_it_needs() -> None:
    # 12 requests of 0.2 s: one replica's 2 s, and half a second of the slot after, in which one must still be there
    candidate = Candidate(lateness=certain([12, 12, 0]), prices=Prices(hold=2.0, start=0.0))
    bound = cheapest([candidate], late_share=0.0)
    assert bound.achieved == pytest.approx(6.0)
    assert bound.cost == pytest.approx(6.0, rel=1e-3)


def test_a_budget_of_everything_costs_nothing() -> None:
    bound = cheapest([Candidate(lateness=certain([5, 9, 2]), prices=Prices(hold=2.0, start=1.0))], late_share=1.0)
    assert bound.cost == bound.achieved == 0.0


def test_the_budget_goes_where_it_saves_most() -> None:
    # Ten late requests: one replica-slot less where ten are few, rather than somewhere in the steady traffic
    steady = Candidate(lateness=certain([10, 10, 10]), prices=Prices(hold=2.0, start=0.0))
    rare = Candidate(lateness=certain([1, 1, 1]), prices=Prices(hold=2.0, start=0.0))
    bound = cheapest([steady, rare], late_share=3 / 33)
    assert [found.counts.sum() for found in bound.schedules] == [3, 0]


def test_uneven_requests_are_dropped_largest_first() -> None:
    works = [np.array([0.1, 0.1, 3.0])]
    demand = Slots(seconds=1.0, arrivals=np.array([3.0]), most=1)
    late = CertainLateness(demand, goal_s=0.5, works_s=works).late(0)
    assert late[1].tolist() == [1.0, 1.0]
    assert late[0, 1] == 1.0  # the next slot's half second holds both small ones
    assert late[0, 0] == 3.0


def test_expected_lateness_is_that_of_the_queue_model() -> None:
    demand = Slots(seconds=60.0, arrivals=np.array([0.0, 240.0]), most=4)
    late = ExpectedLateness(demand, CAPACITY).late
    assert late[0].tolist() == [0.0] * 5
    assert late[1, 0] == 240.0
    assert list(late[1]) == sorted(late[1], reverse=True)


def test_the_expected_version_asks_for_more_than_the_certain_one() -> None:
    demand = Slots(seconds=60.0, arrivals=np.array([240.0, 480.0, 120.0]), most=6)
    prices = Prices(hold=60.0, start=30.0)
    sure = CertainLateness(demand, goal_s=0.5, works_s=CAPACITY.service_s)
    expected = ExpectedLateness(demand, CAPACITY)
    bounds = [cheapest([Candidate(lateness=each, prices=prices)], late_share=0.01).cost for each in (sure, expected)]
    assert bounds[0] < bounds[1]


def test_slots_shorter_than_the_goal_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter than the latency goal"):
        certain([1], seconds=0.1)


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        cheapest([], late_share=share)
