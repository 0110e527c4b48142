"""Distributions of service and load times."""

import numpy as np
import pytest

from sizewise.simulation.spread import DRAWS, Shape, Spread, constant, factors, lognormal


@pytest.mark.parametrize(
    ("shape", "cv", "expected"), [("lognormal", 0.2, 0.2), ("exponential", 0, 1), ("constant", 1, 0)]
)
def test_factors_have_mean_one_and_the_variation_asked_for(shape: Shape, cv: float, expected: float) -> None:
    drawn = factors(shape, cv, np.random.default_rng(1))
    assert len(drawn) == DRAWS
    assert drawn.mean() == pytest.approx(1.0)
    assert drawn.std() == pytest.approx(expected, rel=0.02, abs=1e-9)


def test_factors_have_no_order() -> None:
    drawn = factors("lognormal", 0.5, np.random.default_rng(1))
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.02


def test_quantiles_are_met() -> None:
    spread = lognormal(20.0, 60.0)
    assert spread.median_s == pytest.approx(20.0)
    assert spread.at(0.99) == pytest.approx(60.0)
    measured = Spread(((0.1, 2.0), (0.5, 22.0), (0.9, 42.0)))
    assert [measured.at(q) for q in (0.0, 0.1, 0.3, 0.9, 1.0)] == pytest.approx([2, 2, 12, 42, 42])
    assert constant(3.0).at(0.99) == 3.0
