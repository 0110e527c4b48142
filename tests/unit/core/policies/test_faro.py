import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.policies.faro import (
    FaroConfig,
    FaroModel,
    FaroState,
    allocate,
    faro_start,
    faro_step,
    latency_s,
    utility,
)
from tests.unit.core.policies.replaying import seen

THREE = FaroConfig(models=(FaroModel(),) * 3, most_replicas=12)


@pytest.mark.parametrize(
    ("replicas", "rate", "seconds"),
    [
        pytest.param(2, 0.0, 0.18, id="idle: the service time"),
        pytest.param(0, 1.0, math.inf, id="nothing serves"),
        pytest.param(0, 0.0, 0.0, id="nothing to serve"),
        # M/M/1 at 0.5: ln(0.5 / 0.01) / (0.5 / 0.18), half of it
        pytest.param(1, 0.5 / 0.18, 0.18 + 0.5 * math.log(50) * 0.36, id="one at half load"),
        pytest.param(1, 1.9 / 0.18, 2 * (0.18 + 0.5 * math.log(95) * 3.6), id="twice the stable load: twice as late"),
    ],
)
def test_latency(replicas: int, rate: float, seconds: float) -> None:
    assert latency_s(THREE, FaroModel(), replicas, rate_per_s=rate) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("rates", "least", "counts"),
    [
        pytest.param(((), (), ()), (1, 1, 1), (1, 1, 1), id="nothing known: what must be"),
        pytest.param(((0.1,), (0.1,), (0.1,)), (1, 1, 1), (1, 1, 1), id="little load: nothing gains"),
        pytest.param(((40.0,), (0.1,), (0.1,)), (1, 1, 1), (8, 1, 1), id="all that gains goes to the busy one"),
        pytest.param(
            ((400.0,), (400.0,), (400.0,)), (1, 1, 1), (10, 1, 1), id="too much for all: a sum serves one well"
        ),
        pytest.param(((400.0,), (0.1,), (0.1,)), (1, 5, 6), (1, 5, 6), id="all held: nothing to give"),
    ],
)
def test_allocate(rates: tuple[tuple[float, ...], ...], least: tuple[int, ...], counts: tuple[int, ...]) -> None:
    assert allocate(THREE, rates, now=least, least=least) == counts


@given(st.integers(0, 12), st.floats(0, 100), st.floats(0, 100))
def test_more_replicas_never_hurt_and_more_load_never_helps(replicas: int, rate: float, extra: float) -> None:
    def worth(n: int, per_s: float) -> float:
        return utility(THREE, FaroModel(), n, rates=(per_s,))

    assert worth(replicas, rate) <= worth(replicas + 1, rate) + 1e-9
    assert worth(replicas, rate + extra) <= worth(replicas, rate) + 1e-9


@given(st.lists(st.floats(0, 200), min_size=3, max_size=3))
def test_never_beyond_the_cap(rates: list[float]) -> None:
    counts = allocate(THREE, [(rate,) for rate in rates], now=(1, 1, 1), least=(1, 1, 1))
    assert sum(counts) <= THREE.most_replicas
    assert min(counts) >= 1


def run(rates: Sequence[tuple[float, ...]], counts: tuple[int, ...]) -> list[tuple[float, tuple[int, ...]]]:
    """Desired replicas every 10 s; each entry of ``rates`` lasts 10 s; replicas come at once."""
    state: FaroState | None = None
    history = []
    for tick, now_rates in enumerate(rates):
        now_s = tick * 10.0
        views = [
            seen(now_s, spec=n, period_s=10.0, arrivals=10 * rate) for n, rate in zip(counts, now_rates, strict=True)
        ]
        counts, state, _ = faro_step(THREE, views, state or faro_start(THREE, views))
        history.append((now_s, counts))
    return history


def test_late_for_30_s_adds_one_before_anything_is_solved() -> None:
    history = run([(20.0, 0.1, 0.1)] * 6, (1, 1, 1))
    assert [counts[0] for _, counts in history] == [1, 1, 1, 2, 2, 2]


def test_solved_every_300_s_and_down_after_600_s() -> None:
    history = run([(30.0, 0.1, 0.1)] * 40 + [(0.1, 0.1, 0.1)] * 120, (1, 1, 1))
    first = {at_s: counts[0] for at_s, counts in history}
    assert first[60.0] == 8
    assert first[400.0] >= 8
    left_s = next(at_s for at_s, n in first.items() if at_s > 400 and n < 8)
    assert 960.0 <= left_s <= 1300.0
    assert history[-1][1] == (1, 1, 1)


def test_one_observation_for_each_model() -> None:
    with pytest.raises(ValueError, match="1 observations for 3 models"):
        faro_start(THREE, [seen()])
