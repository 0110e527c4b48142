import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.loadgen.sketch import ERROR, Sketch, upper_s

seconds = st.floats(1e-5, 100)


def sketch_of(samples: list[float]) -> Sketch:
    sketch = Sketch()
    for sample in samples:
        sketch.add(sample)
    return sketch


@given(st.lists(seconds, min_size=1, max_size=300), st.floats(0.001, 1))
def test_a_quantile_is_within_one_percent_of_the_true_one(samples: list[float], q: float) -> None:
    found = sketch_of(samples).quantile(q)
    true = sorted(samples)[max(1, math.ceil(q * len(samples) - 1e-9)) - 1]
    assert found == pytest.approx(true, rel=ERROR * 1.01)


@given(st.lists(seconds, min_size=1, max_size=100))
def test_quantiles_rise_and_end_below_the_greatest(samples: list[float]) -> None:
    sketch = sketch_of(samples)
    found = [sketch.quantile(q) or 0.0 for q in (0.1, 0.5, 0.9, 0.999)]
    assert found == sorted(found)
    assert found[-1] <= sketch.max_s == max(samples)
    assert sum(sketch.counts.values()) == sketch.total == len(samples)


def test_nothing_says_nothing_and_less_than_nothing_is_the_floor() -> None:
    assert Sketch().quantile(0.5) is None
    assert Sketch().mean() is None
    assert set(sketch_of([0.0, -1.0]).counts) == {0}
    assert upper_s(0) == pytest.approx(1e-6)
