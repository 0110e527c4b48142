from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.policies.base import Observation, ReplicaSample, Signal
from sizewise.core.policies.hpa import HpaState, hpa_start, hpa_step
from sizewise.core.policies.hpa_config import Behavior, ChangeLimit, Direction, HpaConfig, HpaKind, HpaMetric, Select
from sizewise.core.policies.hpa_metrics import proposal
from tests.unit.core.policies.replaying import seen

AVERAGE = HpaMetric(kind=HpaKind.REPLICA_AVERAGE, target=100.0)
EXTERNAL = HpaMetric(kind=HpaKind.EXTERNAL_AVERAGE, target=1.0)
VALUE = HpaMetric(kind=HpaKind.EXTERNAL_VALUE, target=10.0)
CPU = HpaMetric()
SILENT = ReplicaSample()
PENDING = ReplicaSample(pending=True)


def busy(value: float, count: int = 1, **rest: Any) -> tuple[ReplicaSample, ...]:
    return (replace(ReplicaSample(concurrency=value, busy_cores=value), **rest),) * count


@pytest.mark.parametrize(
    ("cur", "replicas", "wanted"),
    [
        pytest.param(3, busy(110, 3), 3, id="ratio 1.1: the edge of the tolerance is left alone"),
        pytest.param(3, busy(111, 3), 4, id="beyond it: 3.33 rounded up"),
        pytest.param(3, busy(90, 3), 3, id="ratio 0.9: likewise"),
        pytest.param(3, busy(60, 3), 2, id="ratio 0.6: 1.8 rounded up"),
        pytest.param(4, (*busy(150, 3), SILENT), 5, id="missing counts as idle: 450 / 400 of 4"),
        pytest.param(4, (*busy(120, 3), SILENT), 4, id="missing turns 1.2 into 0.9: no change"),
        pytest.param(4, (*busy(50, 3), SILENT), 3, id="missing counts as at the target: 250 / 400 of 4"),
        pytest.param(4, (*busy(300, 2), PENDING, PENDING), 6, id="pending count as idle on the way up"),
        pytest.param(4, (*busy(50, 2), PENDING, PENDING), 1, id="pending do not count on the way down"),
        pytest.param(2, (SILENT, SILENT), None, id="nobody reports: no proposal"),
        pytest.param(2, busy(400, 2, ready=False), 8, id="loading but reporting: counts in full"),
        pytest.param(2, (*busy(100, 2), *busy(900, 1, leaving=True)), 2, id="draining: not looked at"),
    ],
)
def test_average_of_replicas(cur: int, replicas: tuple[ReplicaSample, ...], wanted: int | None) -> None:
    assert proposal(HpaConfig(), AVERAGE, seen(1000.0, spec=cur, replicas=replicas)) == wanted


NEW = {"started_at_s": 900.0, "ready_changed_at_s": 920.0, "sampled_at_s": 1000.0}


@pytest.mark.parametrize(
    ("cur", "replicas", "wanted"),
    [
        pytest.param(2, busy(0.88, 2), 2, id="88 % of 80 %: within"),
        pytest.param(2, busy(0.889, 2), 2, id="whole percent: 88.9 % is 88 %"),
        pytest.param(2, busy(0.9, 2), 3, id="90 %: 2.25 rounded up"),
        pytest.param(3, (*busy(1.0, 2), *busy(1.0, 1, **{**NEW, "ready": False})), 3, id="young, not ready: idle"),
        pytest.param(3, (*busy(1.0, 2), *busy(1.0, 1, **NEW)), 4, id="young, ready, sampled since: counts"),
        pytest.param(
            3, (*busy(1.0, 2), *busy(1.0, 1, **{**NEW, "ready_changed_at_s": 990.0})), 3, id="sample before ready"
        ),
        pytest.param(
            2, busy(1.6, 2, started_at_s=600.0, ready=False, ready_changed_at_s=610.0), None, id="old, never ready"
        ),
        pytest.param(
            2, busy(1.6, 2, started_at_s=600.0, ready=False, ready_changed_at_s=700.0), 4, id="old, was ready once"
        ),
        pytest.param(2, (*busy(0.2), SILENT), 2, id="missing counts as 100 % on the way down: 60 %, 1.5 up"),
    ],
)
def test_cpu(cur: int, replicas: tuple[ReplicaSample, ...], wanted: int | None) -> None:
    assert proposal(HpaConfig(), CPU, seen(1000.0, spec=cur, replicas=replicas)) == wanted


@pytest.mark.parametrize(
    ("metric", "observation", "wanted"),
    [
        pytest.param(EXTERNAL, seen(spec=4, concurrency=4.4), 4, id="average: within tolerance"),
        pytest.param(EXTERNAL, seen(spec=4, concurrency=4.5), 5, id="average: absolute"),
        pytest.param(EXTERNAL, seen(spec=4, ready=1, concurrency=9.0), 9, id="average: readiness is nothing to it"),
        pytest.param(EXTERNAL, seen(spec=0, concurrency=3.0), 3, id="average: from zero"),
        pytest.param(VALUE, seen(spec=4, concurrency=20.0), 8, id="value: ratio 2 of 4 ready"),
        pytest.param(VALUE, seen(spec=4, ready=1, concurrency=20.0), 2, id="value: 3 of 4 load, so fewer"),
        pytest.param(VALUE, seen(spec=4, ready=0, concurrency=20.0), 0, id="value: none ready, none wanted"),
        pytest.param(VALUE, seen(spec=0, concurrency=21.0), 3, id="value: from zero"),
        pytest.param(
            replace(EXTERNAL, signal=Signal.UTILIZATION), seen(spec=1, utilization=None), None, id="metric missing"
        ),
    ],
)
def test_external(metric: HpaMetric, observation: Observation, wanted: int | None) -> None:
    assert proposal(HpaConfig(), metric, observation) == wanted


def scaled(config: HpaConfig, demands: list[float], *, spec: int = 1, step_s: float = 15.0) -> list[int]:
    """Desired after each sync, every replica there at once."""
    state: HpaState | None = None
    result: list[int] = []
    for i, demand in enumerate(demands):
        observation = seen(i * step_s, spec=spec, concurrency=demand)
        step = hpa_step(config, observation, state or hpa_start(config, observation))
        spec, state = step.desired, step.state
        result.append(spec)
    return result


STOCK = HpaConfig(metrics=(EXTERNAL,))
BEHAVIOR = HpaConfig(metrics=(EXTERNAL,), behavior=Behavior())


def limited(**directions: Any) -> HpaConfig:
    return HpaConfig(metrics=(EXTERNAL,), behavior=Behavior(**directions))


@pytest.mark.parametrize(
    ("config", "demands", "spec", "wanted"),
    [
        pytest.param(BEHAVIOR, [100] * 7, 1, [5, 10, 20, 40, 80, 100, 100], id="behavior: +4 or double each 15 s"),
        pytest.param(STOCK, [100] * 7, 1, [4, 8, 16, 32, 64, 100, 100], id="no behavior: 4 or double"),
        pytest.param(STOCK, [1] * 21, 10, [10] * 20 + [1], id="no behavior: the highest of 300 s holds"),
        pytest.param(BEHAVIOR, [1] * 21, 10, [10] * 20 + [1], id="behavior: down after 300 s, all at once"),
        pytest.param(
            limited(down=Direction(limits=(ChangeLimit(share=0.5, period_s=30),))),
            [1] * 6,
            16,
            [8, 8, 4, 4, 2, 2],
            id="half per 30 s: what went within the period counts",
        ),
        pytest.param(
            limited(up=Direction(limits=(ChangeLimit(replicas=4), ChangeLimit(share=1.0)), select=Select.SMALLEST)),
            [100] * 5,
            1,
            [2, 4, 8, 12, 16],
            id="select min: the smaller of +4 and double",
        ),
        pytest.param(limited(up=Direction(select=Select.DISABLED)), [100] * 3, 2, [2, 2, 2], id="up disabled"),
        pytest.param(limited(down=Direction(select=Select.DISABLED)), [0] * 3, 2, [2, 2, 2], id="down disabled"),
        pytest.param(
            limited(up=Direction(window_s=60)), [9] * 5, 1, [1, 1, 1, 1, 5], id="up window: the lowest of 60 s"
        ),
    ],
)
def test_limits(config: HpaConfig, demands: list[float], spec: int, wanted: list[int]) -> None:
    assert scaled(config, demands, spec=spec) == wanted


def test_within_a_period_jitter_costs_a_step() -> None:
    assert scaled(BEHAVIOR, [100] * 3, step_s=14.9) == [5, 5, 10]


@pytest.mark.parametrize(
    ("config", "observation", "wanted", "code"),
    [
        pytest.param(STOCK, seen(spec=0, concurrency=50.0), 0, "hpa_disabled", id="zero with a minimum: off"),
        pytest.param(replace(STOCK, max_replicas=5), seen(spec=9), 5, "hpa_bounds", id="above the maximum"),
        pytest.param(replace(STOCK, min_replicas=3), seen(spec=1), 3, "hpa_bounds", id="below the minimum"),
        pytest.param(HpaConfig(), seen(spec=4), 4, "hpa_no_metrics", id="no metric at all: keep"),
        pytest.param(
            HpaConfig(metrics=(CPU, EXTERNAL)), seen(spec=4), 4, "hpa_partial_metrics", id="one missing: not down"
        ),
        pytest.param(HpaConfig(metrics=(CPU, EXTERNAL)), seen(spec=4, concurrency=6.0), 6, "hpa", id="but up"),
    ],
)
def test_before_any_limit(config: HpaConfig, observation: Observation, wanted: int, code: str) -> None:
    step = hpa_step(config, observation, HpaState())
    assert (step.desired, step.reason.code) == (wanted, code)


demands = st.lists(st.floats(0, 500), min_size=1, max_size=30)


@given(demands, st.floats(0, 200), st.sampled_from([STOCK, BEHAVIOR]))
def test_more_at_once_never_means_fewer(loads: list[float], extra: float, config: HpaConfig) -> None:
    """Without the tolerance, which makes what is kept depend on what was there."""
    exact = replace(config, tolerance_up=0.0, tolerance_down=0.0)
    observation = seen(spec=3, concurrency=loads[0])
    more = seen(spec=3, concurrency=loads[0] + extra)
    assert hpa_step(exact, observation, HpaState()).desired <= hpa_step(exact, more, HpaState()).desired


@given(demands, st.integers(1, 10), st.sampled_from([STOCK, BEHAVIOR]))
def test_never_more_than_the_highest_demand_or_the_beginning(loads: list[float], spec: int, config: HpaConfig) -> None:
    assert max(scaled(config, loads, spec=spec)) <= max(spec, *(int(load) + 1 for load in loads))


def test_a_limit_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="one of replicas and share"):
        ChangeLimit(replicas=1, share=0.5)
    with pytest.raises(ValueError, match=r"HpaConfig\.max_replicas is 0: allowed is 1 to inf"):
        HpaConfig(max_replicas=0)
