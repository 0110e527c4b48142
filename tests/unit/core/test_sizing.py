import heapq
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.fleet import Demand
from sizewise.core.profiles import BatchPoint, LatencyCurve
from sizewise.core.sizing import (
    Capacity,
    capacity_of,
    erlang_c,
    expected_attainment,
    late_share,
    need_of,
    rate_of,
    replicas_for,
    sustainable_per_s,
)
from sizewise.core.slo import Slo
from tests.unit.core.fleet_sim import profile

SLO = Slo(0.95, 0.1)
rates = st.floats(0, 2000)


def asked(rate: float, *, queued: int = 0, peak: float | None = None) -> Demand:
    peak = rate if peak is None else peak
    envelope = ((1.0, peak), (2.0, 2 * peak), (4.0, 4 * peak))
    return Demand(observed_at_s=0, burst_per_s=rate, stable_per_s=rate, queued=queued, idle_s=0, envelope=envelope)


@pytest.mark.parametrize(
    ("servers", "offered", "waiting"),
    [  # textbook values
        pytest.param(1, 0.5, 0.5, id="M/M/1: utilization"),
        pytest.param(2, 1.0, 1 / 3, id="M/M/2 half full"),
        pytest.param(10, 8.0, 0.4092, id="ten servers at 0.8"),
        pytest.param(2, 2.0, 1.0, id="overloaded"),
    ],
)
def test_erlang_c(servers: int, offered: float, waiting: float) -> None:
    assert erlang_c(servers, offered) == pytest.approx(waiting, abs=1e-4)


@pytest.mark.parametrize(
    ("slo_s", "batching", "batch"),
    [
        pytest.param(None, 0.3, 8, id="no SLO: the largest that pays"),
        pytest.param(10.0, 1.0, 1, id="batching gains nothing"),
        pytest.param(0.1, 0.3, 8, id="largest within half of the SLO"),
        pytest.param(0.05, 0.3, 4, id="eight would take too long"),
        pytest.param(0.001, 0.3, 1, id="nothing fits: one by one"),
    ],
)
def test_best_batch(slo_s: float | None, batching: float, batch: int) -> None:
    slo = None if slo_s is None else Slo(0.95, slo_s)
    assert capacity_of(profile(batching=batching), slo).batch == batch


def test_a_fixed_batch_dimension_is_not_batched() -> None:
    fixed = profile()
    fixed = replace(fixed, facts=replace(fixed.facts, batchable=False))
    assert capacity_of(fixed, SLO).batch == 1


def test_noise_in_the_curve_does_not_make_waiting_pay() -> None:
    noisy = replace(
        profile(),
        curve=LatencyCurve((BatchPoint(batch=1, p50_s=0.02, p95_s=0.02), BatchPoint(batch=2, p50_s=0.01, p95_s=0.01))),
    )
    assert capacity_of(noisy, None).service_s == 0.02


def test_rows_count_as_work() -> None:
    one, four = capacity_of(profile(), None, 1.0), capacity_of(profile(), None, 4.0)
    assert four.per_s == pytest.approx(one.per_s / 4)


@pytest.mark.parametrize(
    ("slo", "rate", "replicas"),
    [
        pytest.param(SLO, 0.0, 0, id="nothing asked"),
        pytest.param(SLO, 0.1, 1, id="a trickle"),
        pytest.param(Slo(0.99, 0.03), 5.0, 1, id="small load, tight SLO: still one"),
        pytest.param(None, 100.0, 1, id="no SLO: by utilization"),
        pytest.param(None, 300.0, 2, id="no SLO: over the target utilization of one"),
        pytest.param(Slo(0.95, 0.005), 60.0, 1, id="impossible SLO: enough to keep up"),
    ],
)
def test_replicas_for(slo: Slo | None, rate: float, replicas: int) -> None:
    assert replicas_for(capacity_of(profile(), slo), rate) == replicas


def test_headroom_shrinks_in_proportion_as_load_grows() -> None:
    capacity = capacity_of(profile(batching=1.0), SLO)
    small, large = replicas_for(capacity, 80.0), replicas_for(capacity, 4000.0)
    assert large / 40 < small / 0.8


@given(rates, rates, st.sampled_from([None, SLO, Slo(0.99, 0.05), Slo(0.5, 0.005)]))
def test_more_rate_never_needs_fewer(a: float, b: float, slo: Slo | None) -> None:
    capacity = capacity_of(profile(), slo)
    assert replicas_for(capacity, min(a, b)) <= replicas_for(capacity, max(a, b))


@given(rates, st.integers(0, 500), st.floats(0, 100), st.floats(0, 100), st.integers(0, 100))
def test_more_demand_never_needs_fewer(
    rate: float, queued: int, load_s: float, extra: float, extra_queued: int
) -> None:
    capacity = capacity_of(profile(), SLO)
    less = need_of(capacity, asked(rate, queued=queued), load_s=load_s, supply_in_s=(0.0, 3.0))
    more = need_of(capacity, asked(rate + extra, queued=queued + extra_queued), load_s=load_s, supply_in_s=(0.0, 3.0))
    assert less.replicas <= more.replicas


@given(st.floats(0.0, 20), st.floats(0.0, 20), st.floats(0, 20))
def test_rate_rises_with_both_windows(burst: float, stable: float, extra: float) -> None:
    def rate(b: float, s: float) -> float:
        return rate_of(Demand(observed_at_s=0, burst_per_s=b, stable_per_s=s), 3.0)

    assert rate(burst, stable) <= rate(burst + extra, stable) + 1e-9
    assert rate(burst, stable) <= rate(burst, stable + extra) + 1e-9


def test_one_request_is_not_a_rate() -> None:
    slow = profile(service_s=2.0, batching=1.0)
    once = Demand(observed_at_s=0, burst_per_s=1 / 3, stable_per_s=1 / 60, idle_s=0)
    assert need_of(capacity_of(slow, Slo(0.95, 5.0)), once, load_s=1.0).replicas == 1


def test_replicas_that_load_count_from_when_they_are_ready() -> None:
    capacity = capacity_of(profile(), SLO)
    backlog = asked(50.0, queued=3000)
    alone = need_of(capacity, backlog, load_s=10.0, supply_in_s=(0.0,))
    soon = need_of(capacity, backlog, load_s=10.0, supply_in_s=(0.0, 2.0))
    late = need_of(capacity, backlog, load_s=10.0, supply_in_s=(0.0, 11.0))
    assert soon.backlog < alone.backlog == late.backlog


def test_envelope_reaches_to_the_load_time_and_no_further() -> None:
    capacity = capacity_of(profile(), SLO)
    demand = Demand(observed_at_s=0, envelope=((1.0, 100.0), (2.0, 200.0), (4.0, 4000.0)))
    assert need_of(capacity, demand, load_s=0.0).envelope == 1
    assert need_of(capacity, demand, load_s=3.0).envelope == 4
    assert need_of(capacity, demand, load_s=3.0).rule == "envelope"


@pytest.mark.parametrize("slo", [SLO, Slo(0.99, 0.2), None])
def test_sustainable_is_where_the_next_replica_becomes_needed(slo: Slo | None) -> None:
    capacity = capacity_of(profile(), slo)
    edge = sustainable_per_s(capacity, 2)
    assert replicas_for(capacity, edge * 0.999) <= 2 < replicas_for(capacity, edge * 1.01)


def refused_in_simulation(servers: int, offered: float, *, patience: float, cv: float) -> float:
    """Services of mean 1, Poisson arrivals, one queue; who would wait longer than their patience leaves at once."""
    rng, count = np.random.default_rng(servers), 60_000
    arrivals = np.cumsum(rng.exponential(1 / offered, count))
    sigma = math.sqrt(math.log1p(cv * cv))
    services = np.exp(rng.normal(-sigma * sigma / 2, sigma, count))
    free, refused = [0.0] * servers, 0
    for arrived, service in zip(arrivals, services, strict=True):
        start = max(arrived, free[0])
        if start - arrived > patience:
            refused += 1
        else:
            heapq.heapreplace(free, start + service)
    return refused / count


@pytest.mark.parametrize(
    ("servers", "utilization", "patience", "cv"),
    [
        pytest.param(1, 0.4, 2.0, 0.0, id="one that is half idle, constant"),
        pytest.param(1, 0.5, 3.0, 1.0, id="one, exponential spread"),
        pytest.param(3, 0.8, 2.0, 0.6, id="three"),
        pytest.param(10, 0.9, 1.0, 0.3, id="ten, nearly full"),
        pytest.param(4, 1.3, 2.0, 1.0, id="overloaded"),
    ],
)
def test_late_share_is_what_a_queue_refuses(servers: int, utilization: float, patience: float, cv: float) -> None:
    capacity = Capacity(1, 1.0, 1.0, 1.0, cv * cv, None, patience)
    found = late_share(capacity, servers, utilization * servers)
    assert found == pytest.approx(
        refused_in_simulation(servers, utilization * servers, patience=patience, cv=cv), rel=0.35
    )


@given(st.floats(0.1, 1000), st.integers(1, 20))
def test_attainment_rises_with_replicas(rate: float, replicas: int) -> None:
    capacity = capacity_of(profile(), SLO)
    fewer = expected_attainment(capacity, replicas, rate)
    more = expected_attainment(capacity, replicas + 1, rate)
    assert fewer is not None
    assert more is not None
    assert 0 <= fewer <= more + 1e-9 <= 1 + 1e-9


def test_attainment_without_goal_or_demand_is_unknown() -> None:
    assert expected_attainment(capacity_of(profile(), None), 1, 5.0) is None
    assert expected_attainment(capacity_of(profile(), SLO), 1, 0.0) is None
    assert expected_attainment(capacity_of(profile(), SLO), 0, 5.0) == 0.0
    assert not math.isnan(expected_attainment(capacity_of(profile(), SLO), 1, 1e6) or 0.0)
