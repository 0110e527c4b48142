import math
import random
from dataclasses import replace

import pytest

from sizewise.core.estimates import (
    LiveEstimate,
    compare,
    effective,
    with_batches,
    with_load,
    with_memory,
)
from sizewise.core.profiles import LoadTime, ModelProfile, Source
from sizewise.core.units import MIB
from tests.unit.core.fleet_sim import profile

PROFILE = profile(service_s=0.02, load_s=2.0, private=100 * MIB, mapped=50 * MIB)


def serve(
    live: LiveEstimate, start_s: float, seconds: int, *, factor: float, per_s: int = 3, rows: int = 1
) -> LiveEstimate:
    rng = random.Random(start_s)
    for t in range(seconds):
        samples = [(rows, PROFILE.curve.p50_s(rows) * factor * rng.uniform(0.95, 1.05)) for _ in range(per_s)]
        live = with_batches(live, samples, start_s + t)
    return live


def p50(live: LiveEstimate, now_s: float, batch: int = 1, base: ModelProfile = PROFILE) -> float:
    return effective(base, live, now_s).curve.p50_s(batch)


def test_without_samples_the_profile_stands() -> None:
    assert effective(PROFILE, LiveEstimate(), 0.0) is PROFILE
    few = with_batches(LiveEstimate(), [(1, 1.0)] * 7, 0.0)
    assert effective(PROFILE, few, 0.0) is PROFILE


def test_follows_a_slowdown_within_ten_seconds_and_back() -> None:
    live = serve(LiveEstimate(), 0, 60, factor=1.0)
    assert p50(live, 60) == pytest.approx(0.02, rel=0.06)
    live = serve(live, 60, 10, factor=2.0)
    assert p50(live, 69) == pytest.approx(0.04, rel=0.06)
    live = serve(live, 70, 20, factor=1.0)
    assert p50(live, 89) == pytest.approx(0.02, rel=0.06)
    assert effective(PROFILE, live, 89).curve.p95_s(1) < 0.022


def test_few_outliers_do_not_move_it() -> None:
    live = serve(LiveEstimate(), 0, 20, factor=1.0)
    for t in range(5, 20, 5):
        live = with_batches(live, [(1, 5.0)], float(t))
    assert p50(live, 20) == pytest.approx(0.02, rel=0.06)


def test_unmeasured_batches_are_scaled_by_the_ratio_seen() -> None:
    live = serve(LiveEstimate(), 0, 20, factor=3.0)
    live_profile = effective(PROFILE, live, 20)
    for point in PROFILE.curve.points:
        assert live_profile.curve.p50_s(point.batch) == pytest.approx(3 * point.p50_s, rel=0.06)
    assert live_profile.source is Source.LIVE


def test_ratio_between_measured_batches_is_interpolated() -> None:
    live = serve(serve(LiveEstimate(), 0, 10, factor=1.0), 0, 10, factor=3.0, rows=4)
    assert p50(live, 10, 2) == pytest.approx(2 * PROFILE.curve.p50_s(2), rel=0.06)


def test_forgets_without_traffic_but_never_returns_to_a_guess() -> None:
    live = serve(LiveEstimate(), 0, 20, factor=2.0)
    assert p50(live, 120) == PROFILE.curve.p50_s(1)
    guess = replace(PROFILE, source=Source.ESTIMATED)
    assert p50(live, 120, base=guess) == pytest.approx(0.04, rel=0.06)
    assert p50(live, 1e7, base=guess) == pytest.approx(0.04, rel=0.06)


@pytest.mark.parametrize("bad", [(0, 1.0), (1, -1.0), (1, 0.0), (1, math.nan), (1, math.inf)])
def test_impossible_batches_are_dropped(bad: tuple[int, float]) -> None:
    assert with_batches(LiveEstimate(), [bad] * 20, 0.0) == LiveEstimate()


def test_a_busy_second_does_not_push_out_the_others() -> None:
    live = serve(LiveEstimate(), 0, 10, factor=1.0)
    live = with_batches(live, [(1, 0.02)] * 10_000, 10.0)
    assert len(live.batches) == 38


def test_load_time_needs_two_against_a_measurement_and_one_against_a_guess() -> None:
    once = with_load(LiveEstimate(), LoadTime(load_s=4.0), 0.0)
    assert effective(PROFILE, once, 1.0).load.total_s == 2.0
    assert effective(replace(PROFILE, source=Source.ESTIMATED), once, 1.0).load.total_s == 4.0
    more = once
    for total_s in (3.0, 60.0, 3.2):
        more = with_load(more, LoadTime(load_s=total_s), 1.0)
    assert effective(PROFILE, more, 2.0).load.total_s == 3.2
    assert effective(PROFILE, more, 1e5).load.total_s == 2.0
    assert with_load(once, LoadTime(load_s=math.nan), 2.0) is once


def test_memory_follows_readings_but_keeps_a_measured_peak() -> None:
    live = LiveEstimate()
    for t, size in enumerate([60, 60, 60, 70, 60, 60, 60, 60, 60, 60]):
        live = with_memory(live, private_bytes=size * MIB, mapped_bytes=40 * MIB, now_s=float(t))
    measured = replace(PROFILE, memory=replace(PROFILE.memory, peak_bytes=120 * MIB))
    assert effective(measured, live, 10.0).memory.replica_bytes == 120 * MIB
    guess = replace(measured, source=Source.ESTIMATED)
    assert effective(guess, live, 10.0).memory.replica_bytes == 70 * MIB
    assert effective(guess, live, 10.0).memory.mapped_bytes == 40 * MIB
    assert effective(guess, live, 1000.0).memory.replica_bytes == 60 * MIB, "one large request is not reserved for ever"


def test_compare_shows_both_sides_with_age() -> None:
    live = serve(LiveEstimate(), 0, 10, factor=2.0)
    live = with_load(live, LoadTime(load_s=1.0), 5.0)
    rows = {row.figure: row for row in compare(PROFILE, live, 12.0)}
    assert rows["p50_s[1]"].profiled == 0.02
    assert rows["p50_s[1]"].live == pytest.approx(0.04, rel=0.06)
    assert (rows["p50_s[1]"].samples, rows["p50_s[1]"].age_s) == (30, 3.0)
    assert rows["p50_s[8]"].live is None
    assert (rows["load_s"].live, rows["load_s"].samples, rows["load_s"].age_s) == (None, 1, 7.0)
    assert rows["replica_bytes"].age_s is None
