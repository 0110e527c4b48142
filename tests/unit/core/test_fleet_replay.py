"""Decisions in sequence: demand replayed second by second against load times."""

import math
import random
from itertools import pairwise

from sizewise.core.estimates import LiveEstimate, effective, with_batches
from sizewise.core.slo import Slo
from sizewise.core.units import GIB, MIB
from tests.unit.core.fleet_sim import Fleet, SimModel, machine, profile, steps

LARGE = profile(load_s=1.5, private=100 * MIB, mapped=500 * MIB, service_s=0.05)
LOOSE = Slo(0.95, 0.5)


def changes(series: list[int]) -> int:
    return sum(a != b for a, b in pairwise(series))


def test_a_small_model_goes_within_30_s_of_a_burst_and_a_large_one_stays() -> None:
    small = SimModel("small", steps((5, 1), (30, 900)), profile=profile(load_s=0.15))
    large = SimModel("large", steps((30, 10)), profile=LARGE, slo=LOOSE)
    fleet = Fleet(machine(), small, large).run(180)
    assert max(fleet.series("small")) == 4
    assert fleet.series("small")[45] < 4, "visibly fewer soon after the burst"
    assert fleet.series("small")[59] == 0, "and gone within 30 s"
    assert min(fleet.series("large")[10:]) == 1, "two and a half minutes after its last request"


def test_a_burst_is_answered_within_a_few_seconds() -> None:
    small = SimModel("small", steps((20, 2), (60, 700)), profile=profile(load_s=0.2))
    fleet = Fleet(machine(), small).run(40)
    assert fleet.series("small")[24] >= 3
    assert small.queue < 700, "the backlog is drained"


def test_a_cold_model_gets_its_replica_when_it_is_called() -> None:
    once = SimModel("once", lambda t: 1.0 if t == 10 else 0.0, profile=LARGE, slo=LOOSE)
    fleet = Fleet(machine(), once).run(16)
    assert fleet.series("once")[10:] == [0, 0, 1, 1, 1, 1]
    assert once.served == 1
    assert once.starts == 1


def test_a_day_of_swing_scales_out_and_in_without_flapping() -> None:
    day = SimModel("day", lambda t: 350 * (1 - math.cos(2 * math.pi * t / 300)), profile=profile(load_s=1.0))
    fleet = Fleet(machine(), day).run(300)
    series = fleet.series("day")
    assert max(series) >= 3
    assert series[290] == 1
    assert changes(series) <= 2 * max(series)
    assert day.served > 0.97 * day.arrived


def test_noise_does_not_start_and_stop_replicas() -> None:
    noisy = SimModel("noisy", lambda t: 300 + 80 * math.sin(1.7 * t) + 60 * math.sin(0.9 * t))
    series = Fleet(machine(), noisy).run(200).series("noisy")
    assert changes(series[10:]) <= 2


def test_memory_pressure_takes_the_lowest_value_per_byte() -> None:
    rare = SimModel("rare", lambda t: 1.0 if t == 0 else 0.0, profile=LARGE, slo=LOOSE)
    often = SimModel("often", lambda t: 1.0 if t % 8 == 0 else 0.0, profile=LARGE, slo=LOOSE)
    late = SimModel("late", lambda t: 1.0 if t == 61 else 0.0, profile=LARGE, slo=LOOSE)
    fleet = Fleet(machine(memory=1400 * MIB), rare, often, late).run(80)
    assert (fleet.series("rare")[60], fleet.series("often")[60]) == (1, 1)
    assert (fleet.series("rare")[-1], fleet.series("often")[-1], fleet.series("late")[-1]) == (0, 1, 1)


def test_two_busy_equals_that_do_not_fit_take_long_turns() -> None:
    a = SimModel("a", lambda t: 4.0, profile=LARGE, slo=LOOSE)
    b = SimModel("b", lambda t: 4.0, profile=LARGE, slo=LOOSE)
    fleet = Fleet(machine(memory=1 * GIB), a, b).run(300)
    turns = [changes([min(n, 1) for n in fleet.series(name)]) for name in "ab"]
    assert sum(turns) <= 2 * 5, "a turn is at least 20 times the two loads"
    assert min(turns) >= 3, "and everybody has one"
    idle = sum(x + y == 0 for x, y in zip(fleet.series("a")[5:], fleet.series("b")[5:], strict=True))
    assert idle <= 0.08 * 300


def test_the_important_one_keeps_its_place() -> None:
    low = SimModel("low", lambda t: 4.0, profile=LARGE, slo=LOOSE)
    high = SimModel("high", lambda t: 4.0 if t >= 30 else 0.0, profile=LARGE, slo=LOOSE)
    high.policy = type(high.policy)(priority=10)
    fleet = Fleet(machine(memory=1 * GIB), low, high).run(200)
    assert fleet.series("low")[25] == 1
    assert fleet.series("high")[45:] == [1] * 155
    assert low.starts == 1


def test_memory_is_never_promised_twice() -> None:
    models = [
        SimModel(f"m{i}", lambda t, i=i: 3.0 if int(t / 7) % 5 == i else 0.0, profile=LARGE, slo=LOOSE)  # type: ignore[misc]
        for i in range(5)
    ]
    fleet = Fleet(machine(memory=1400 * MIB), *models)
    for _ in range(120):
        fleet.run(1)
        assert fleet.reserved() <= fleet.machine.memory_bytes


def test_blind_for_a_while_it_keeps_what_there_is() -> None:
    small = SimModel("small", steps((30, 500)), profile=profile(load_s=0.15))
    fleet = Fleet(machine(), small).run(28)
    before = fleet.series("small")[-1]
    fleet.read = False
    fleet.run(60)
    assert set(fleet.series("small")[28:]) == {before}
    assert fleet.last("small").reason.code == "stale"
    fleet.read = True
    assert fleet.run(30).series("small")[-1] == 0


def test_a_core_taken_away_shows_in_the_curve_and_the_desired_capacity_within_30_s_and_back() -> None:
    """Live batches of a model that is slowed down for 40 s, a few each second, through estimate, sizing and hold."""
    measured = profile(load_s=0.2)
    model = SimModel("model", lambda t: 150.0, profile=measured)
    fleet = Fleet(machine(), model)
    live, rng = LiveEstimate(), random.Random(7)
    curve_s, desired = [], []
    for t in range(120):
        slowed = 2.2 if 40 <= t < 80 else 1.0
        samples = [(1, measured.curve.p50_s(1) * slowed * rng.uniform(0.9, 1.1)) for _ in range(3)]
        live = with_batches(live, samples, fleet.now_s)
        model.profile = effective(measured, live, fleet.now_s)
        fleet.run(1)
        curve_s.append(model.profile.curve.p50_s(1))
        desired.append(fleet.last("model").desired)
    assert set(desired[20:40]) == {1}
    assert curve_s[60] > 2 * measured.curve.p50_s(1)
    assert min(desired[60:80]) >= 2
    assert curve_s[100] < 1.1 * measured.curve.p50_s(1)
    assert set(desired[110:]) == {1}
