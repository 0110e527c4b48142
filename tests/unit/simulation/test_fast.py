"""The compiled engine behaves as the general one does, request by request. Skipped where there is no compiler."""

import numpy as np
import pytest

from sizewise.simulation.plain import PlainPools
from sizewise.simulation.pools import Pools, PoolSetup, record_for
from sizewise.simulation.scenario import Dispatch
from sizewise.simulation.workload import Chance, RateWorkload
from tests.unit.simulation.building import setup

pytest.importorskip("numba", reason="the compiler is not installed")

CASES = {
    "plain": setup(0.02, shape="lognormal", cv=0.4, slo_s=0.1, max_in_flight=2),
    "sheds": setup(0.03, shape="exponential", slo_s=0.2, sheds=True, max_in_flight=3, max_queue=200),
    "bounded": setup(0.05, shape="lognormal", cv=0.2, slo_s=0.2, max_queue=7, max_in_flight=1),
    "in turn": setup(0.02, shape="lognormal", cv=0.3, max_in_flight=4, dispatch=Dispatch.ROUND_ROBIN, max_queue=50),
    "batches": setup(
        0.02,
        shape="lognormal",
        cv=0.3,
        points=((1, 0.02), (4, 0.03), (8, 0.05)),
        max_batch=8,
        max_in_flight=16,
        slo_s=0.1,
    ),
    "gives up": setup(0.1, shape="exponential", timeout_s=0.5, hold_s=1.0, max_in_flight=2, max_queue=60),
    "never waits": setup(0.02, shape="constant", hold_s=0.0, max_queue=20, max_in_flight=1),
}


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """Compiling is not the test's time."""
    both(CASES["plain"], seconds=1)


def both(each: PoolSetup, *, seconds: int = 40) -> list[Pools]:
    """The same story of replicas that come, slow down, drain and go, in two engines."""
    from sizewise.simulation.fast import FastPools

    rates = np.abs(np.sin(np.arange(seconds) / 7))[None, :] * np.array([[90.0], [30.0]])
    told = []
    for engine in (PlainPools, FastPools):
        workload = RateWorkload(["a", "b"], rates, bucket_s=1.0, seed=3, chance=Chance())
        record = record_for(2, workload.end_s, counted_from_s=5.0)
        pools: Pools = engine([each, each], record)
        pools.feed(workload.block(0))
        story(pools, seconds)
        told.append(pools)
    return told


def story(pools: Pools, seconds: int) -> None:
    rng = np.random.default_rng(1)
    live: list[list[int]] = [[], []]
    leaving: list[int] = []
    for second in range(1, seconds + 1):
        now_s = second - 0.3
        pools.advance(second % 2, now_s)
        pools.advance_all(float(second))
        for slot in [slot for slot in leaving if not pools.outstanding(slot)]:
            leaving.remove(slot)
            pools.drop(slot)
        for model in (0, 1):
            if rng.random() < 0.3 and len(live[model]) < 6:
                live[model].append(pools.add(model))
            elif rng.random() < 0.2 and len(live[model]) > 1:
                slot = live[model].pop(int(rng.integers(len(live[model]))))
                pools.drain(slot)
                leaving.append(slot)
            elif rng.random() < 0.1 and live[model]:
                pools.slow(live[model][0], 1.5)


@pytest.mark.parametrize("name", CASES)
def test_both_engines_say_the_same_of_every_request(name: str) -> None:
    plain, fast = both(CASES[name])
    for model in (0, 1):
        expected, found = plain.counts(model), fast.counts(model)
        assert found.arrived > 300
        assert found.served > 0
        assert found.concurrency_s == pytest.approx(expected.concurrency_s)
        for what in (
            "arrived",
            "served",
            "shed",
            "failed",
            "within",
            "held",
            "queued",
            "outstanding",
            "last_arrival_s",
        ):
            assert getattr(found, what) == getattr(expected, what), what
        assert found.arrived == found.served + found.shed + found.failed + found.queued + found.outstanding
        assert fast.next_arrival_s(model) == plain.next_arrival_s(model)
    assert (plain.record.latency == fast.record.latency).all()
    assert (plain.record.ended_MT == fast.record.ended_MT).all()
    assert (plain.record.in_time_MT == fast.record.in_time_MT).all()


def test_the_cases_reach_every_way_that_a_request_may_end() -> None:
    counts = {name: both(each)[1].counts(0) for name, each in CASES.items()}
    assert counts["sheds"].shed > 20
    assert counts["bounded"].shed > 20
    assert counts["gives up"].failed > 20
    assert all(each.held > 0 for name, each in counts.items() if name != "never waits")
