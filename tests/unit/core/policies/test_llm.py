"""The autoscalers made for language models: AIBrix, Dynamo, llm-d."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.policies.aibrix import ApaConfig, ApaState, apa_step, recommended
from sizewise.core.policies.base import Incumbent
from sizewise.core.policies.dynamo import DynamoConfig, DynamoState, Predictor, easy, predicted
from sizewise.core.policies.registry import AIBRIX_APA, DYNAMO, WVA
from sizewise.core.policies.wva import WvaConfig, WvaState, change
from tests.unit.core.policies.replaying import changes, replay, seen


@pytest.mark.parametrize(
    ("cur", "ratio", "wanted"),
    [
        pytest.param(2, 2.5, 4, id="5 wanted, at most doubled"),
        pytest.param(10, 1.1, 10, id="the edge of the tolerance"),
        pytest.param(10, 1.15, 12, id="beyond it, rounded up"),
        pytest.param(10, 0.9, 10, id="the lower edge"),
        pytest.param(10, 0.62, 7, id="rounded up on the way down too"),
        pytest.param(9, 0.0, 4, id="at most halved, rounded down"),
    ],
)
def test_apa(cur: int, ratio: float, wanted: int) -> None:
    assert recommended(ApaConfig(), cur, ratio) == wanted


def apa(**rest: Any) -> Incumbent[ApaConfig, ApaState]:
    return replace(AIBRIX_APA, config=replace(ApaConfig(), **rest))


def test_apa_compounds_while_replicas_load() -> None:
    """vllm-project/aibrix#2670: two ready at 2.5 times the target, everything else loads."""
    history = changes(replay(AIBRIX_APA, lambda _: 50.0, until_s=35.0, spec=2, load_s=600.0))
    assert history == [(0.0, 2), (10.0, 4), (20.0, 8), (30.0, 16)]


def test_apa_takes_the_lowest_of_its_down_window() -> None:
    config = ApaConfig()
    state = ApaState(recommended=((90.0, 3), (95.0, 9)))
    step = apa_step(config, seen(100.0, spec=8, period_s=10.0, concurrency=56.0), state)
    assert step.desired == 3  # 6 by itself: HPA would have held 9


def test_apa_without_metrics_keeps() -> None:
    assert apa_step(ApaConfig(), seen(spec=3, ready=0), ApaState()).desired == 3
    assert apa_step(ApaConfig(), seen(spec=0, concurrency=9.0), ApaState()).reason.code == "apa_disabled"


@pytest.mark.parametrize(
    ("utilizations", "wanted"),
    [
        pytest.param((0.5, 1.05), 1, id="any engine above 1: one more"),
        pytest.param((1.0, 1.0), 0, id="exactly 1: none"),
        pytest.param((0.55, 0.55), 0, id="0.55 x 2 / 1 = 1.1: going down is refused"),
        pytest.param((0.45, 0.45), -1, id="0.9 would be left: one fewer"),
        pytest.param((0.3, 0.65), 0, id="one is not below 0.6"),
        pytest.param((0.1,), 0, id="the minimum stays"),
        pytest.param((), 0, id="nobody reports"),
    ],
)
def test_dynamo_by_load(utilizations: tuple[float, ...], wanted: int) -> None:
    assert easy(DynamoConfig(), utilizations) == wanted


def dynamo(**rest: Any) -> Incumbent[DynamoConfig, DynamoState]:
    return replace(DYNAMO, config=replace(DynamoConfig(), **rest))


def test_dynamo_takes_one_step_per_load_time() -> None:
    history = changes(replay(dynamo(forecast_interval_s=None), lambda _: 400.0, until_s=200.0, load_s=60.0))
    assert history == [(0.0, 2), (60.0, 3), (120.0, 4), (180.0, 5)]


def test_dynamo_stays_within_its_devices() -> None:
    config = dynamo(devices_per_replica=3, forecast_interval_s=None)
    assert max(n for _, n in replay(config, lambda _: 1e4, until_s=300.0)) == 2


@pytest.mark.parametrize(
    ("per_s", "most_devices", "wanted"),
    [
        pytest.param(3.5, 64, 4, id="3.5 per second at 1 each"),
        pytest.param(40.0, 64, 9, id="at most 8 more at a time"),
        pytest.param(40.0, 6, 6, id="within the devices"),
    ],
)
def test_dynamo_forecast_is_a_floor(per_s: float, most_devices: int, wanted: int) -> None:
    config = dynamo(most_devices=most_devices, engine_concurrency=1e3, predictor=Predictor.CONSTANT)
    history = changes(replay(config, lambda _: per_s, until_s=190.0))
    assert history == [(0.0, 1), (180.0, wanted)]


@pytest.mark.parametrize(
    ("past", "least", "most"),
    [
        pytest.param((), 0, 0, id="nothing"),
        pytest.param((3.0, 4.0), 4, 4, id="short: the last"),
        pytest.param((5.0,) * 30, 4.9, 5.1, id="constant"),
        pytest.param(tuple(float(i) for i in range(40)), 39, 42, id="a trend goes on"),
        pytest.param((50.0, 40.0, 30.0, 20.0, 10.0, 0.0, 0.0), 0, 9, id="never below zero"),
    ],
)
def test_kalman(past: tuple[float, ...], least: float, most: float) -> None:
    assert least <= predicted(Predictor.KALMAN, past) <= most


TOKENS = WvaConfig(capacity=8000.0)


@pytest.mark.parametrize(
    ("spec", "ready", "demand", "wanted"),
    [
        pytest.param(1, 1, 9000.0, 1, id="9000 / 0.85 - 8000 = 2588: one more"),
        pytest.param(2, 1, 9000.0, 0, id="with one coming: none"),
        pytest.param(1, 1, 40000.0, 5, id="as many as are missing"),
        pytest.param(4, 4, 5500.0, -3, id="24000 to spare"),
        pytest.param(4, 2, 5500.0, -1, id="what loads is not to spare"),
        pytest.param(2, 2, 6000.0, 0, id="less than one to spare"),
    ],
)
def test_wva(spec: int, ready: int, demand: float, wanted: int) -> None:
    assert change(TOKENS, seen(spec=spec, ready=ready, concurrency=demand)) == wanted


def wva(**rest: Any) -> Incumbent[WvaConfig, WvaState]:
    return replace(WVA, config=replace(WvaConfig(), **rest))


def test_wva_sleeps_and_wakes() -> None:
    def visits(now_s: float) -> float:
        return 0.0 if now_s < 690 else 1.0

    history = changes(replay(WVA, visits, until_s=900.0))
    assert history == [(0.0, 1), (600.0, 0), (705.0, 1)]


def test_wva_holds_for_its_stabilization() -> None:
    def falling(now_s: float) -> float:
        return 200.0 if now_s < 100 else 30.0

    history = changes(replay(WVA, falling, until_s=500.0))
    assert [n for _, n in history] == [4, 1]
    assert 330.0 <= history[1][0] <= 360.0


@given(st.integers(1, 40), st.floats(0, 1e4), st.floats(0, 1e4))
def test_more_demand_never_asks_for_less(spec: int, demand: float, extra: float) -> None:
    less, more = (seen(spec=spec, concurrency=value) for value in (demand, demand + extra))
    assert change(WvaConfig(), less) <= change(WvaConfig(), more)
    utilizations = ((demand / 1e4,) * spec, ((demand + extra) / 1e4,) * spec)
    assert easy(DynamoConfig(), utilizations[0]) <= easy(DynamoConfig(), utilizations[1])
    assert recommended(ApaConfig(), spec, demand) <= recommended(ApaConfig(), spec, demand + extra)
