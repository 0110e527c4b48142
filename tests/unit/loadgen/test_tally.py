import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.loadgen.sketch import Sketch
from sizewise.loadgen.tally import SLICES, Tally, limit_of, window_of


@pytest.mark.parametrize(
    ("cpu", "lag_s", "latency_s", "said"),
    [
        pytest.param(0.5, 0.0002, 0.010, None, id="keeps up"),
        pytest.param(0.91, 0.0, 0.010, "it used 91% of a core", id="busy"),
        pytest.param(0.5, 0.0009, 0.0001, None, id="late by less than a millisecond"),
        pytest.param(0.5, 0.005, 0.010, "1 time in 100 it came 5.0 ms late or more", id="late by half of the latency"),
        pytest.param(0.5, 0.005, 5.0, None, id="late, but the server is a thousand times slower"),
        pytest.param(0.5, 0.005, None, "late", id="late, and nothing was answered"),
    ],
)
def test_limit(cpu: float, lag_s: float, latency_s: float | None, said: str | None) -> None:
    found = limit_of(cpu, lag_p99_s=lag_s, latency_p99_s=latency_s)
    assert found is None if said is None else said in (found or "")


def test_only_what_is_due_in_the_window_counts() -> None:
    tally = Tally(from_s=10, until_s=20, slo_s=0.1)
    for due_s, took_s, status in [
        (9.9, 0.2, 200),
        (10.0, 0.05, 200),
        (19.9, 0.5, 200),
        (15.0, 0.01, 429),
        (20, 1, 200),
    ]:
        tally.submitted(due_s)
        tally.came(due_s, due_s + 0.001)
        tally.answered(status, due_s=due_s, sent_s=due_s + 0.002, now_s=due_s + took_s)
    tally.submitted(16.0)
    tally.failed("closed by the server", 16.0)
    window = window_of(tally, offered_per_s=0.4, connections=3, cpu_share=0.1)
    assert (window.sent, window.statuses, window.errors) == (4, {"200": 2, "429": 1}, 2)
    assert window.failures == {"closed by the server": 1}
    assert window.answered_per_s == 0.2, "good answers that arrived before the end, warm-up's last included"
    assert window.attainment == 0.25
    assert window.latency.max_s == pytest.approx(0.5)
    assert window.service.max_s == pytest.approx(0.498)
    assert sum(count for _, count in window.latency.histogram) == 2


def test_moments_tell_when_it_happened() -> None:
    tally = Tally(from_s=100, until_s=150)
    for due_s, now_s, status in [(100.2, 100.3, 200), (100.4, 112.0, 200), (149.9, 150.5, 503), (99.0, 149.99, 200)]:
        tally.submitted(due_s)
        tally.answered(status, due_s=due_s, sent_s=due_s, now_s=now_s)
    tally.submitted(149.0)
    tally.failed("closed by the server", 149.0)
    moments = window_of(tally, offered_per_s=1.0, connections=1, cpu_share=0.1).moments
    assert [moment.at_s for moment in moments] == pytest.approx(list(range(SLICES)))
    assert [(i, m.due_per_s) for i, m in enumerate(moments) if m.due_per_s] == [(0, 2), (49, 2)]
    assert [(i, m.answered_per_s) for i, m in enumerate(moments) if m.answered_per_s] == [(0, 1), (12, 1), (49, 1)]
    assert [(i, m.errors) for i, m in enumerate(moments) if m.errors] == [(49, 2)]
    assert moments[0].p99_s == pytest.approx(11.6)
    assert moments[12].p50_s is None, "latency belongs to where the request was due"


@given(st.lists(st.floats(1e-6, 100), max_size=200), st.integers(1, 7))
def test_merged_sketches_are_one_sketch(values: list[float], parts: int) -> None:
    whole, merged, split = Sketch(), Sketch(), [Sketch() for _ in range(parts)]
    for i, value in enumerate(values):
        whole.add(value)
        split[i % parts].add(value)
    for each in split:
        merged.merge(each)
    assert (merged.counts, merged.total, merged.max_s) == (whole.counts, whole.total, whole.max_s)
    assert merged.quantile(0.9) == whole.quantile(0.9)
