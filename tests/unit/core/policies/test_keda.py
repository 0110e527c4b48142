from dataclasses import replace
from typing import Any

import pytest

from sizewise.core.policies.base import Incumbent, Signal
from sizewise.core.policies.hpa_config import HpaKind, HpaMetric
from sizewise.core.policies.keda import Cron, KedaConfig, KedaState, weekly
from sizewise.core.policies.registry import KEDA
from tests.unit.core.policies.replaying import Load, changes, replay


def keda(**rest: Any) -> Incumbent[KedaConfig, KedaState]:
    return replace(KEDA, config=replace(KedaConfig(), **rest))


def between(start_s: float, end_s: float, value: float) -> Load:
    return lambda now_s: value if start_s < now_s <= end_s else 0.0


def test_from_zero_at_the_next_poll_and_back_after_the_cooldown() -> None:
    history = changes(replay(KEDA, between(31, 120, 3.0), until_s=600.0, spec=0))
    assert history == [(0.0, 0), (60.0, 1), (450.0, 0)]


def test_the_hpa_counts_from_one() -> None:
    history = changes(replay(KEDA, lambda _: 23.0, until_s=120.0, spec=0))
    # 4 at most from 1, then 23 / 5 rounded up
    assert history == [(0.0, 1), (15.0, 4), (30.0, 5)]


def test_an_idle_one_just_created_goes_at_once() -> None:
    """kedacore/keda#5008."""
    assert changes(replay(KEDA, lambda _: 0.0, until_s=100.0)) == [(0.0, 1), (30.0, 0)]
    slow = changes(replay(keda(initial_cooldown_s=90.0), lambda _: 0.0, until_s=200.0))
    assert slow == [(0.0, 1), (120.0, 0)]


def test_a_replica_that_still_loads_is_removed() -> None:
    """superlinked/sie#293: an empty queue while the model loads."""
    history = changes(replay(KEDA, between(0, 30, 1.0), until_s=600.0, spec=0, load_s=3600.0))
    assert history == [(0.0, 0), (30.0, 1), (360.0, 0)]


def test_activation_is_strictly_above() -> None:
    assert {n for _, n in replay(keda(activation=3.0), lambda _: 3.0, until_s=120.0, spec=0)} == {0}


def test_minimum() -> None:
    assert replay(keda(min_replicas=2), lambda _: 0.0, until_s=60.0, spec=0)[0][1] == 2
    assert replay(keda(min_replicas=2), lambda _: 0.0, until_s=900.0, spec=2)[-1][1] == 2


def test_cron_holds_a_floor_in_its_hours() -> None:
    night = HpaMetric(kind=HpaKind.EXTERNAL_AVERAGE, target=5.0, signal=Signal.QUEUED)
    config = keda(crons=(Cron(start_s=600, end_s=1200, replicas=3, every_s=3600),), metrics=(night,))
    history = changes(replay(config, lambda _: 0.0, until_s=2400.0, spec=0))
    # The HPA holds its highest recommendation for 300 s after the hours are over
    assert [n for _, n in history] == [0, 1, 3, 1, 0]
    assert history[1][0] == 600.0
    # The last activity was polled at 1170 s; then the cooldown, and the next poll
    assert history[-1][0] == 1500.0


@pytest.mark.parametrize(
    ("peaks", "triggers"),
    [
        pytest.param([], [], id="no history"),
        pytest.param([0, 4, 4, 9], [(1, 3, 2), (3, 4, 5)], id="hours alike share one, idle hours have none"),
    ],
)
def test_weekly(peaks: list[float], triggers: list[tuple[int, int, int]]) -> None:
    assert [(c.start_s / 3600, c.end_s / 3600, c.replicas) for c in weekly(peaks, 2.0)] == triggers
