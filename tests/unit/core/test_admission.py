import math
import random
from collections import deque
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.admission import Admission, Shed


def admission(*, slo_s: float | None = 0.1, service_s: float = 0.01, max_queue: int = 100) -> Admission:
    return Admission(max_queue=max_queue, slo_s=slo_s, service_s=service_s, timeout_s=30.0)


def busy(ahead: int, per_s: float, *, times: int = 400, slo_s: float | None = 0.1) -> Admission:
    """One that has seen many answers with this work ahead, leaving at this rate."""
    it = admission(slo_s=slo_s)
    for _ in range(times):
        answer(it, ahead, (ahead + 1) / per_s)
    return it


def answer(it: Admission, ahead: int, seconds: float) -> None:
    """It took so long."""
    it.done(ahead, it.expected_s(ahead), seconds)


@pytest.mark.parametrize(
    ("it", "state", "status"),
    [
        pytest.param(busy(20, 100), (0, 0, 1), None, id="starts at once"),
        pytest.param(busy(20, 100), (0, 1, 1), None, id="one ahead of it"),
        pytest.param(busy(20, 100), (0, 3, 2), None, id="short queue at two replicas"),
        pytest.param(busy(20, 100), (10, 10, 1), 503, id="would be late"),
        pytest.param(busy(20, 1000), (10, 10, 1), None, id="the same work at a faster replica"),
        pytest.param(busy(20, 100, slo_s=None), (50, 50, 1), None, id="no SLO: only the queue bound"),
        pytest.param(busy(20, 100, slo_s=None), (100, 0, 1), 429, id="queue full"),
        pytest.param(admission(), (99, 0, 0), None, id="cold: held"),
        pytest.param(admission(), (100, 0, 0), 429, id="cold: held up to the bound"),
        pytest.param(busy(0, 100), (0, 40, 1), None, id="batches of this size were never seen: it may be fine"),
        pytest.param(busy(0, 100), (5, 64, 1), 503, id="but not when requests queue already"),
        pytest.param(busy(0, 6000), (90, 553, 1), None, id="a burst at a quick model: what it can do shows in no time"),
        pytest.param(busy(400, 6000), (90, 553, 1), 503, id="the same when it has shown that it cannot"),
    ],
)
def test_check(it: Admission, state: tuple[int, int, int], status: int | None) -> None:
    shed = it.check(*state)
    assert (shed.status if shed else None) == status
    assert shed is None or 1 <= shed.retry_after_s <= 60


def test_what_was_held_while_cold_does_not_make_others_late() -> None:
    it = busy(20, 100)
    assert it.check(30, 0, 0) is None
    assert it.check(30, 20, 1) is None, "the backlog of the cold time is being worked off"
    assert it.check(0, 20, 1) == Shed(503, 1)


def test_retry_after_is_when_the_work_ahead_is_done() -> None:
    assert busy(20, 10).retry_after_s(45) == 5
    assert busy(20, 10).retry_after_s(100_000) == 60


def test_service_time_follows_requests_that_were_alone() -> None:
    it = busy(0, 50)
    assert it.service_s == pytest.approx(0.02, rel=0.01)
    assert busy(30, 50).service_s == 0.01


def test_drain_rate_follows_more_replicas() -> None:
    it = busy(20, 100)
    for _ in range(400):
        answer(it, 20, 21 / 200)
    assert it.drain_per_s == pytest.approx(200, rel=0.02)
    assert it.work_ahead == pytest.approx(21, rel=0.02)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_impossible_times_are_ignored(bad: float) -> None:
    it = busy(5, 100)
    answer(it, 5, bad)
    assert it.drain_per_s == pytest.approx(100, rel=0.05)


def test_deadline_is_its_own_or_the_models() -> None:
    assert admission().deadline_s(5.0) == 35.0
    assert admission().deadline_s(5.0, 0.5) == 5.5


@given(st.integers(0, 90), st.integers(0, 60), st.integers(1, 4), st.integers(0, 40))
def test_more_work_is_never_admitted_where_less_was_shed(queued: int, out: int, ready: int, extra: int) -> None:
    it = busy(200, 100)
    if it.check(queued, out, ready) is not None:
        assert it.check(queued + extra, out, ready) is not None


def test_recovers_by_itself_when_everything_was_shed() -> None:
    it = busy(50, 2)
    shed = 0
    for _ in range(400):
        if it.check(0, 1, 1) is None:
            answer(it, 1, 0.01)
        shed += it.check(5, 5, 1) is not None
    assert 0 < shed < 300


def test_predictions_that_are_often_wrong_keep_more_back() -> None:
    steady, shaky = busy(9, 100, slo_s=0.2), busy(9, 100, slo_s=0.2)
    for i in range(400):
        answer(shaky, 9, 0.1 * (1.4 if i % 2 else 0.6))
    taken = [sum(it.check(2, out, 1) is None for out in range(30)) for it in (steady, shaky)]
    assert shaky.drain_per_s == pytest.approx(steady.drain_per_s, rel=0.05)
    assert taken[1] < 0.75 * taken[0]


def test_the_error_of_predictions_fades_when_they_matter_no_more() -> None:
    it = busy(9, 100, slo_s=0.2)
    for i in range(400):
        answer(it, 9, 0.1 * (1.4 if i % 2 else 0.6))
    for _ in range(400):
        answer(it, 0, 0.01)
    assert it.check(2, 14, 1) is None


# -- a server that works off what is taken ----------------------------------------------------------------------

CAPACITY_PER_S = 150.0
SLO_S = 0.25

Drift = Callable[[float], float]
"""Time that a row takes at a time, as a multiple of what is usual."""


SECONDS, ONSET_S = 30.0, 2.0
"""Within the latter it is found out that more work at once does not make it quicker."""


def served(load: float, drift: Drift, *, batch: int = 1) -> tuple[dict[float, float], int, int]:
    """Latencies of what was taken by arrival, arrivals, and how many were shed, with Poisson arrivals at ``load`` times
    what one server can do that computes up to ``batch`` rows at once."""
    it = admission(slo_s=SLO_S, service_s=1 / CAPACITY_PER_S, max_queue=1024)
    latencies: dict[float, float] = {}
    waiting: deque[tuple[float, int, float]] = deque()
    shed = arrived = working = 0
    done_s = math.inf
    for now_s in arrivals(load * CAPACITY_PER_S):
        while done_s <= now_s:
            for arrived_s, ahead, expected_s in [waiting.popleft() for _ in range(working)]:
                latencies[arrived_s] = done_s - arrived_s
                it.done(ahead, expected_s, done_s - arrived_s)
            working = min(len(waiting), batch)
            done_s = done_s + working / CAPACITY_PER_S * drift(done_s) if working else math.inf
        ahead = len(waiting)
        arrived += 1
        if it.check(0, ahead, 1) is None:
            waiting.append((now_s, ahead, it.expected_s(ahead)))
            if not working:
                working, done_s = 1, now_s + drift(now_s) / CAPACITY_PER_S
        else:
            shed += 1
    return latencies, arrived, shed


def arrivals(per_s: float) -> Iterator[float]:
    chance = random.Random(5)
    now_s = 0.0
    while (now_s := now_s + chance.expovariate(per_s)) < SECONDS:
        yield now_s


def steady(_now_s: float) -> float:
    return 1.0


def drifting(now_s: float) -> float:
    return 1.0 + 0.1 * math.sin(2 * math.pi * now_s / 3)


def jumping(now_s: float) -> float:
    return 1.0 if int(now_s / 5) % 2 else 1.1


@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("drift", [steady, drifting, jumping])
def test_three_times_the_capacity_leaves_what_is_taken_in_time(drift: Drift, batch: int) -> None:
    latencies, _, shed = served(3.0, drift, batch=batch)
    later = sorted(latency for arrived_s, latency in latencies.items() if arrived_s > ONSET_S)
    late = sum(latency > SLO_S for latency in latencies.values())
    mean = sum(drift(SECONDS * i / 600) for i in range(600)) / 600
    assert shed > 0
    assert later[int(0.99 * len(later))] <= SLO_S
    assert late < 0.02 * len(latencies), "with those of the onset"
    assert len(latencies) - late >= 0.95 * SECONDS * CAPACITY_PER_S / mean


@pytest.mark.parametrize("drift", [steady, drifting])
def test_nothing_is_shed_of_what_can_be_served(drift: Drift) -> None:
    latencies, arrived, shed = served(0.7, drift)
    assert shed == 0
    assert arrived > 3000
    assert max(latencies.values()) < SLO_S
