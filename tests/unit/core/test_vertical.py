"""What more threads would cost, against more replicas."""

from dataclasses import replace

import pytest

from sizewise.core.alternatives import with_alternatives
from sizewise.core.decide import decide
from sizewise.core.profiles import BatchPoint, LatencyCurve, ModelProfile, ThreadCurve
from sizewise.core.reasons import render
from sizewise.core.slo import Slo
from sizewise.core.units import GIB, MIB
from sizewise.core.vertical import Ask, shapes_of
from tests.unit.core.fleet_sim import machine, profile
from tests.unit.core.views import asked, model, replica, view


def with_four(service_s: float, *, speedup: float, private: int) -> ModelProfile:
    """One thread takes ``service_s``; four are so many times as fast."""
    own = profile(service_s=service_s, private=private, max_batch=1)
    fast = service_s / speedup
    curve = LatencyCurve((BatchPoint(batch=1, p50_s=fast, p95_s=1.2 * fast),))
    return replace(own, other_threads=(ThreadCurve(threads=4, curve=curve),))


@pytest.mark.parametrize(
    ("shape", "slo_s", "rate", "cheaper", "meets"),
    [
        pytest.param(
            with_four(0.1, speedup=4.0, private=1 * GIB), 0.5, 20.0, True, (True, True),
            id="large and scales well: one wide replica holds less memory"),
        pytest.param(
            with_four(0.1, speedup=1.8, private=20 * MIB), 0.5, 20.0, False, (True, True),
            id="small and scales badly: narrow replicas keep fewer cores busy"),
        pytest.param(
            with_four(0.6, speedup=4.0, private=1 * GIB), 0.5, 2.0, False, (False, True),
            id="one call of one thread alone misses the SLO"),
        pytest.param(
            with_four(0.1, speedup=1.8, private=20 * MIB), 0.5, 70.0, False, (True, False),
            id="too few cores for wide ones at this rate"),
    ],
)  # fmt: skip
def test_shapes(shape: ModelProfile, slo_s: float, rate: float, cheaper: bool, meets: tuple[bool, bool]) -> None:
    ask = Ask(rate_per_s=rate, slo=Slo(0.95, slo_s), rows_per_request=1.0, most=32)
    narrow, wide = shapes_of(shape, ask, machine(cpus=8, memory=8 * GIB))
    assert (narrow.threads, wide.threads) == (1, 4)
    assert (narrow.meets, wide.meets) == meets
    if all(meets):
        assert (wide.cost < narrow.cost) is cheaper


def test_what_was_never_measured_is_not_compared() -> None:
    ask = Ask(rate_per_s=1.0, slo=None, rows_per_request=1.0, most=4)
    assert len(shapes_of(profile(), ask, machine())) == 1


def test_explain_is_told_what_other_threads_would_cost() -> None:
    subject = model(
        "m", asked(20.0), profile=with_four(0.1, speedup=4.0, private=1 * GIB), slo=Slo(0.95, 0.5),
        replicas=(replica("a"), replica("b"), replica("c")),
    )  # fmt: skip
    fleet = view(subject, on=machine(memory=16 * GIB))
    decision = with_alternatives(decide(fleet).models[0], subject, fleet)
    other = decision.refused[-1]
    assert (other.desired, other.reason.code) == (1, "threads")
    assert "1 of 4 threads would take" in render(other.reason)
