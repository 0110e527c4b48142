"""Estimates from facts alone, and what is said about a profile."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, ModelFacts, Source
from sizewise.core.slo import Slo
from sizewise.core.units import GIB, MIB
from sizewise.profiling.constants import RUNTIMES
from sizewise.profiling.estimate import estimate
from sizewise.profiling.report import line_fit, report
from sizewise.runtimes import RUNTIMES as KNOWN


def facts(size: int, runtime: str | None = "onnx") -> ModelFacts:
    return ModelFacts(format="onnx", platform="onnx", runtime=runtime, disk_bytes=size, parameters=size // 4)


@given(st.integers(0, 100 * GIB), st.integers(0, 100 * GIB), st.sampled_from([*KNOWN, "command", None]))
def test_a_larger_model_is_never_estimated_smaller_or_quicker(one: int, other: int, runtime: str | None) -> None:
    small, large = (estimate(facts(size, runtime)) for size in sorted((one, other)))
    assert small.load.total_s <= large.load.total_s
    assert small.memory.replica_bytes <= large.memory.replica_bytes
    assert small.curve.p50_s(1) <= large.curve.p50_s(1)
    assert small.source is Source.ESTIMATED


@given(st.integers(0, GIB), st.sampled_from(list(RUNTIMES)))
def test_a_cold_load_is_not_quicker_and_a_peak_not_lower(size: int, runtime: str) -> None:
    guess = estimate(facts(size, runtime))
    assert guess.load_cold is not None
    assert guess.load_cold.total_s >= guess.load.total_s
    assert guess.curve.points[0].p95_s >= guess.curve.points[0].p50_s > 0


def test_weights_of_unknown_count_are_taken_as_four_bytes_each() -> None:
    known = facts(64 * MIB)
    assert estimate(replace(known, parameters=None)).curve == estimate(known).curve


def test_estimate_and_measurement_stand_side_by_side() -> None:
    guess = estimate(facts(MIB))
    measured = replace(
        guess,
        source=Source.MEASURED,
        load=LoadTime(start_s=0.01, load_s=0.1),
        curve=LatencyCurve(tuple(BatchPoint(batch=n, p50_s=0.001 + 0.0001 * n, p95_s=0.002) for n in (1, 2, 4, 8))),
    )
    found = report("m.onnx", "0" * 64, estimate=guess, measured=measured, slo=Slo(0.95, 0.05), reused=False)
    figures = {figure.name: figure for figure in found.figures}
    assert figures["load_s"].measured == 0.1
    error = figures["load_s"].error
    assert error is not None
    assert figures["load_s"].estimated == pytest.approx(0.1 * (1 + error))
    assert figures["fetch_s"].error is None, "nothing is estimated or measured as zero"
    assert found.profile is measured
    assert found.sustained.batch == 8
    assert 0 < found.sustained.per_s < 8 / 0.0018


def test_a_straight_line_is_found_and_a_bent_one_confesses() -> None:
    straight = line_fit(LatencyCurve(tuple(BatchPoint(batch=n, p50_s=1 + 2 * n, p95_s=9) for n in (1, 2, 4))))
    assert straight is not None
    assert (straight.fixed_s, straight.per_row_s) == pytest.approx((1, 2))
    assert straight.worst == pytest.approx(0, abs=1e-9)
    bent = line_fit(LatencyCurve(tuple(BatchPoint(batch=n, p50_s=n**2, p95_s=99) for n in (1, 2, 4, 8))))
    assert bent is not None
    assert bent.worst > 0.2


def test_two_points_make_no_line() -> None:
    assert (
        line_fit(LatencyCurve((BatchPoint(batch=1, p50_s=1, p95_s=1), BatchPoint(batch=2, p50_s=2, p95_s=2)))) is None
    )
