from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.loadgen.schedule import Schedule, Spacing, Step, constant, due_times, preceded

steps = st.lists(st.floats(0, 200), min_size=1, max_size=5).map(
    lambda rates: tuple(Step(float(i), rate) for i, rate in enumerate(rates))
)


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        pytest.param(constant(4, 1, spacing=Spacing.uniform), [0, 0.25, 0.5, 0.75], id="equal gaps"),
        pytest.param(
            Schedule(steps=(Step(0, 2), Step(1, 0), Step(2, 4)), seconds=3, spacing=Spacing.uniform),
            [0, 0.5, 2, 2.25, 2.5, 2.75],
            id="a pause, then faster",
        ),
        pytest.param(Schedule(steps=(Step(0, 2), Step(5, 9)), seconds=1, spacing=Spacing.uniform), [0, 0.5], id="cut"),
        pytest.param(constant(0, 5), [], id="no rate"),
        pytest.param(
            preceded(constant(2, 1, spacing=Spacing.uniform), 1), [0, 0.5, 1, 1.5], id="a warm-up goes before it"
        ),
    ],
)
def test_due_times(schedule: Schedule, due: list[float]) -> None:
    assert list(due_times(schedule)) == pytest.approx(due)


def test_poisson_gaps_have_the_mean_and_spread_of_an_exponential() -> None:
    times = list(due_times(constant(1000, 20)))
    gaps = [b - a for a, b in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.001, rel=0.03)
    assert spread == pytest.approx(mean, rel=0.05)


def test_a_seed_gives_the_same_times_again() -> None:
    assert list(due_times(constant(50, 2, seed=1))) == list(due_times(constant(50, 2, seed=1)))
    assert list(due_times(constant(50, 2, seed=1))) != list(due_times(constant(50, 2, seed=2)))


@given(steps, st.sampled_from(Spacing), st.floats(0.1, 8))
def test_times_ascend_within_the_schedule_and_avoid_pauses(
    parts: tuple[Step, ...], spacing: Spacing, seconds: float
) -> None:
    times = list(due_times(Schedule(steps=parts, seconds=seconds, spacing=spacing)))
    assert times == sorted(times)
    assert all(0 <= time < seconds + 1e-9 for time in times)
    idle = {int(step.at_s) for step in parts if step.per_s == 0}
    assert not idle & {int(time) for time in times if time % 1 > 1e-6 and int(time) < len(parts)}
