import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.policies.base import Signal, read
from sizewise.core.policies.registry import JOINT_POLICIES, POLICIES
from sizewise.core.policies.static import StaticConfig, peak_replicas
from sizewise.core.policies.windows import EMPTY, mean, record, total, weighted_mean
from tests.unit.core.policies.replaying import replay, seen

NAMES = sorted(POLICIES)
series = st.lists(st.floats(0, 300), min_size=1, max_size=20)


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_says_what_it_is(name: str) -> None:
    policy = POLICIES[name]
    assert policy.name == name
    assert 10 < len(policy.summary) < 100
    assert dataclasses.is_dataclass(policy.config)
    observation = seen()
    assert policy.interval_s(policy.config, policy.start(policy.config, observation)) > 0


def test_no_name_is_taken_twice() -> None:
    assert not POLICIES.keys() & JOINT_POLICIES.keys()
    joint = JOINT_POLICIES["faro"]
    state = joint.start(joint.config, [seen()])
    assert joint.step(joint.config, [seen()], state)[0] == (1,)
    assert joint.interval_s(joint.config, state) == 10.0


@pytest.mark.parametrize("name", NAMES)
@given(loads=series, load_s=st.sampled_from([0.0, 45.0, 400.0]), spec=st.integers(0, 12))
def test_bounds_and_determinism(name: str, loads: list[float], load_s: float, spec: int) -> None:
    policy = POLICIES[name]
    each_s = 60.0

    def load(now_s: float) -> float:
        return loads[min(max(int(now_s / each_s), 0), len(loads) - 1)]

    step_s = 10.0
    runs = [replay(policy, load, until_s=600.0, spec=spec, load_s=load_s, step_s=step_s) for _ in range(2)]
    assert runs[0] == runs[1]
    most = getattr(policy.config, "max_replicas", None) or 10_000
    assert all(0 <= n <= most for _, n in runs[0])
    hash(policy.config)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "static"])
def test_a_steady_load_settles(name: str) -> None:
    """Nothing swings for ever while replicas come at once."""
    history = replay(POLICIES[name], lambda _: 4.0, until_s=3600.0, spec=2)
    late = [n for at_s, n in history if at_s > 2700]
    assert all(a == b for a, b in pairwise(late))


def test_a_key_out_of_range_is_named() -> None:
    with pytest.raises(ValueError, match=r"StaticConfig\.replicas is -1: allowed is 0 to inf"):
        StaticConfig(replicas=-1)


@pytest.mark.parametrize(
    ("loads", "wanted"),
    [
        pytest.param([], 1, id="nothing"),
        pytest.param([1.0, 9.0], 5, id="the largest"),
        pytest.param([4.0], 2, id="full"),
    ],
)
def test_peak(loads: list[float], wanted: int) -> None:
    assert peak_replicas(loads, 2.0) == wanted
    with pytest.raises(ValueError, match="per_replica is 0"):
        peak_replicas(loads, 0.0)


def test_signals() -> None:
    observation = seen(period_s=2.0, arrivals=6, concurrency=3.0, queued=1.0, utilization=None)
    assert [read(observation, signal) for signal in Signal] == [3.0, 3.0, 1.0, None]
    assert read(seen(arrivals=6), Signal.RATE) == 0.0


@pytest.mark.parametrize(
    ("now_s", "average"),
    [
        pytest.param(0.0, None, id="nothing seen"),
        pytest.param(2.0, 6.0, id="young: over its age"),
        pytest.param(4.0, 4.0, id="4 s of the two"),
        pytest.param(6.0, 1.0, id="2 s of the second, 2 s of silence"),
        pytest.param(99.0, 0.0, id="silent for longer than the window"),
    ],
)
def test_mean(now_s: float, average: float | None) -> None:
    window = record(record(EMPTY, (2.0, 2.0, 6.0), keep_s=60.0), (4.0, 2.0, 2.0), keep_s=60.0)
    assert mean(window, now_s, 4.0) == average


def test_a_period_counts_in_part() -> None:
    window = record(EMPTY, (10.0, 10.0, 3.0), keep_s=60.0)
    assert total(window, 12.0, 6.0) == pytest.approx(12.0)
    assert record(window, (10.0, 0.0, 9.0), keep_s=60.0) is window


def test_weights_add_up_to_one() -> None:
    window = record(EMPTY, (60.0, 60.0, 5.0), keep_s=60.0)
    assert weighted_mean(window, 60.0, 60.0) == pytest.approx(5.0, rel=1e-3)
    assert weighted_mean(EMPTY, 60.0, 60.0) is None
