"""The general engine against theory and by hand."""

import math

import numpy as np
import pytest

from sizewise.core.sizing import erlang_c
from sizewise.simulation.pools import quantile_s
from sizewise.simulation.scenario import Dispatch
from tests.unit.simulation.building import at, poisson, replay, setup


@pytest.mark.parametrize(("servers", "offered"), [(1, 0.6), (4, 3.0)])
def test_waiting_of_exponential_service_is_erlangs(servers: int, offered: float) -> None:
    """M/M/c: mean number in the system, by Little's law against Erlang C."""
    rates, seen = 100.0, []
    for seed in (1, 2):
        workload = poisson(rates, 1800.0, seed=seed)
        pools = replay(setup(offered / rates, shape="exponential"), workload, servers, step_s=600.0)
        seen.append(pools.counts(0).concurrency_s / workload.end_s)
    expected = offered + erlang_c(servers, offered) * offered / (servers - offered)
    assert np.mean(seen) == pytest.approx(expected, rel=0.02)


def test_waiting_of_constant_service_is_pollaczek_and_khinchines() -> None:
    """M/D/1: L = rho + rho^2 / (2 (1 - rho))."""
    rho, seen = 0.7, []
    for seed in (1, 2):
        workload = poisson(100.0, 1800.0, seed=seed)
        pools = replay(setup(rho / 100.0), workload, 1, step_s=600.0)
        seen.append(pools.counts(0).concurrency_s / workload.end_s)
    assert np.mean(seen) == pytest.approx(rho + rho * rho / (2 * (1 - rho)), rel=0.02)


def test_batches_by_hand() -> None:
    """One row takes 1 s, two take 1.5 s, four take 2 s. The first is computed alone; three that came meanwhile go
    together for 1.75 s; the one that came during that goes alone."""
    each = setup(1.0, points=((1, 1.0), (2, 1.5), (4, 2.0)), max_batch=4, max_in_flight=8, slo_s=2.0)
    pools = replay(each, at(0.0, 0.1, 0.5, 0.9, 2.0), 1)
    counts = pools.counts(0)
    # Ends: 1.0; 2.75 for three; 3.75. In flight: 1.0 + 2.65 + 2.25 + 1.85 + 1.75
    assert counts.served == 5
    assert counts.concurrency_s == pytest.approx(9.5)
    assert counts.within == 3
    assert pools.busy_s(0) == pytest.approx(3.75)


def test_no_batch_grows_beyond_its_size_and_none_waits_for_more() -> None:
    each = setup(1.0, points=((1, 1.0), (2, 1.0)), max_batch=2, max_in_flight=4)
    pools = replay(each, at(0.0, 0.1, 0.2, 0.3, 0.4), 1)
    # 1 at 0, 2 at 1, 2 at 2: all are done at 3
    assert pools.busy_s(0) == pytest.approx(3.0)
    assert pools.counts(0).concurrency_s == pytest.approx(1.0 + 1.9 + 1.8 + 2.7 + 2.6)


def test_the_queue_is_bounded_and_nobody_is_lost() -> None:
    each = setup(1.0, max_queue=2, max_in_flight=1)
    counts = replay(each, at(0.0, 0.1, 0.2, 0.3, 0.4, end_s=2.5), 1).counts(0)
    assert (counts.arrived, counts.shed, counts.served, counts.queued, counts.outstanding) == (5, 2, 2, 0, 1)


def test_who_waits_longer_than_the_deadline_has_failed() -> None:
    counts = replay(setup(1.0, timeout_s=1.5), at(0.0, 0.1, 0.2, 0.3), 1).counts(0)
    # The third would begin at 2.0, 1.8 s after it came
    assert (counts.served, counts.failed) == (1, 3)


def test_what_would_be_late_is_shed_only_where_shedding_is_on() -> None:
    workload = poisson(40.0, 100.0)
    both = {}
    for sheds in (True, False):
        each = setup(0.05, sheds=sheds, slo_s=0.3, max_queue=10_000, max_in_flight=2)
        both[sheds] = replay(each, workload, 1).counts(0)
    assert both[False].shed == 0
    assert both[True].shed > 1000
    assert both[True].within > 2 * both[False].within


def test_requests_are_held_until_a_replica_is_ready_and_given_up_at_their_limit() -> None:
    pools = replay(setup(0.1, hold_s=5.0), at(0.0, 3.0, 8.5, 8.6, end_s=9.0), 0, step_s=9.0)
    pools.add(0)
    pools.advance(0, 20.0)
    counts = pools.counts(0)
    assert (counts.held, counts.failed, counts.served) == (4, 2, 2)


def test_round_robin_passes_over_the_full_and_least_outstanding_packs() -> None:
    arrivals = at(*np.arange(0.0, 90.0, 1.0))
    turns = replay(setup(0.5, dispatch=Dispatch.ROUND_ROBIN), arrivals, 3)
    assert [turns.busy_s(slot) for slot in range(3)] == pytest.approx([15.0, 15.0, 15.0])
    packed = replay(setup(0.5), arrivals, 3)
    assert sorted(packed.busy_s(slot) for slot in range(3)) == pytest.approx([0.0, 0.0, 45.0])


def test_draining_finishes_what_it_has() -> None:
    pools = replay(setup(1.0, max_in_flight=3), at(0.0, 0.1, 0.2, 5.0), 1, step_s=0.5)
    assert pools.counts(0).served == 4
    pools = replay(setup(1.0, max_in_flight=3), at(0.0, 0.1, 0.2, 5.0, end_s=0.5), 1, step_s=0.5)
    pools.drain(0)
    pools.advance(0, 10.0)
    counts = pools.counts(0)
    assert (counts.served, counts.queued, pools.outstanding(0)) == (3, 1, 0)
    assert pools.idle_since_s(0) == pytest.approx(3.0)
    pools.drop(0)


def test_slower_replicas_take_longer_from_the_next_batch_on() -> None:
    pools = replay(setup(1.0), at(0.0, 0.5, 10.0, end_s=0.6), 1, step_s=0.6)
    pools.slow(0, 2.0)
    pools.advance(0, 20.0)
    assert pools.busy_s(0) == pytest.approx(1.0 + 2.0 + 2.0)


def test_quantiles_of_latency() -> None:
    pools = replay(setup(0.1), at(*np.arange(0.0, 90.0, 1.0)), 1)
    found = quantile_s(pools.record.latency, 0.5)
    assert found is not None
    assert found == pytest.approx(0.1, rel=0.01)
    assert quantile_s(np.zeros(4, dtype=np.int64), 0.5) is None
    assert math.isinf(pools.next_arrival_s(0))
