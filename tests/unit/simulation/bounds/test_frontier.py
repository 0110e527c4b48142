"""The ladder of weights gives what the bisection gives, and never more than a feasible schedule costs."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from sizewise.core.sizing import Capacity
from sizewise.core.slo import Slo
from sizewise.simulation.bounds.budget import Candidate, cheapest
from sizewise.simulation.bounds.frontier import CertainFleet, ExpectedFleet, Frontier
from sizewise.simulation.bounds.lateness import CertainLateness, ExpectedLateness, Slots
from sizewise.simulation.bounds.rightsizing import Prices

SLO = Slo(quantile=0.99, latency_s=0.5)
CAPACITY = Capacity(
    batch=1, service_s=0.2, service_p95_s=0.25, per_s=5.0, spread2=0.02, slo=SLO, slack_s=SLO.latency_s - 0.25
)
SECONDS, START, MOST = 10.0, 25.0, 4
ARRIVALS = np.random.default_rng(3).poisson(45.0, (3, 40)) * (np.arange(40) // 7 % 2 + 0.0)
SHARES = (0.0, 0.001, 0.02, 0.3, 1.0)


@pytest.mark.parametrize("share", SHARES[1:])
def test_erlang_version_is_that_of_the_bisection(share: float) -> None:
    expected = [ExpectedLateness(Slots(seconds=SECONDS, arrivals=row, most=MOST), CAPACITY) for row in ARRIVALS]
    fleet = ExpectedFleet(
        rows=np.concatenate([each.late for each in expected]),
        row_MT=np.arange(ARRIVALS.size).reshape(ARRIVALS.shape),
        hold_M=np.full(3, SECONDS),
        start_M=np.full(3, START),
    )
    candidates = [Candidate(lateness=each, prices=Prices(hold=SECONDS, start=START)) for each in expected]
    assert Frontier([fleet]).cost(share * ARRIVALS.sum()) == pytest.approx(
        cheapest(candidates, late_share=share).cost, rel=0.02
    )


@pytest.mark.parametrize("share", SHARES)
def test_certified_version_is_below_every_feasible_schedule(share: float) -> None:
    certain = [
        CertainLateness(Slots(seconds=SECONDS, arrivals=row, most=MOST), goal_s=0.5, works_s=0.2) for row in ARRIVALS
    ]
    ranks = np.arange(MOST + 1)
    fits = np.floor((ranks[:, None] * SECONDS + ranks[None, :] * 0.5) / 0.2 + 1e-9)
    fleet = CertainFleet(
        arrivals_MT=ARRIVALS,
        fits_MKK=np.array([fits] * 3),
        hold_M=np.full(3, SECONDS),
        start_M=np.full(3, START),
        free_M=np.zeros(3, np.int64),
    )
    candidates = [Candidate(lateness=each, prices=Prices(hold=SECONDS, start=START)) for each in certain]
    found = cheapest(candidates, late_share=share)
    cost = Frontier([fleet]).cost(share * ARRIVALS.sum())
    assert cost <= found.cost + 1e-6
    # All that it gives away is the first slot, in which three models could have had all they needed
    assert cost >= 0.98 * (found.cost - 3 * MOST * SECONDS)


def test_starts_before_anything_is_counted_are_free() -> None:
    ranks = np.arange(2.0)
    fleet = CertainFleet(
        arrivals_MT=np.array([[0.0, 0.0, 5.0, 0.0, 5.0, 0.0]]),
        fits_MKK=np.array([10.0 * np.maximum(ranks[:, None], 0.0 * ranks[None, :])]),
        hold_M=np.array([10.0]),
        start_M=np.array([30.0]),
        free_M=np.array([3]),
    )
    # Both bursts in time: the first start is free, and to stay for a slot between is cheaper than a second start
    assert Frontier([fleet]).cost(0.0) == pytest.approx(30.0)
    assert Frontier([replace(fleet, free_M=np.array([0]))]).cost(0.0) == pytest.approx(40.0)


def test_more_late_requests_never_cost_more() -> None:
    rows = np.array([[0.0, 0.0], [9.0, 0.5]])
    fleet = ExpectedFleet(
        rows=rows, row_MT=np.array([[0, 1, 1, 0, 1]]), hold_M=np.array([10.0]), start_M=np.array([30.0])
    )
    costs = [Frontier([fleet]).cost(late) for late in np.linspace(0, 30, 31)]
    assert all(more <= 1.01 * less for less, more in itertools.pairwise(costs))
    assert costs[-1] == 0.0
    assert costs[2] == pytest.approx(50.0, rel=0.05)  # five slots without a break: a start is dearer than a slot
