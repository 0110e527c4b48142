"""Settings around a policy, and the ladder from what it costs to what nobody can do without."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sizewise.core.fleet import Demand
from sizewise.simulation.foresight import Future
from sizewise.simulation.parsing import choice, parse_scenario
from sizewise.simulation.regret import FACTORS, QUANTILES, ladder, ladder_runs, settings_of
from sizewise.simulation.running import models_of, workload_of
from sizewise.simulation.scenario import PolicyChoice, Scenario

FLASH = """\
generate: {kind: flash, duration_s: 1800, rate_per_s: 2, models: 2, peak: 5, at_s: 900, lasts_s: 300}
models: {"*": {service_ms: 100, load_s: 60, memory: 3GiB, slo: {p95_ms: 500}}}
"""
SLOTS = "capacity: {replicas: 30}\n"
MACHINES = "capacity: {machines: {m: {cpus: 16, memory: 8GiB, max: 9, min: 0, price_usd_per_h: 2}}}\n"


def scenario_of(capacity: str) -> Scenario:
    return parse_scenario(FLASH + capacity, file="s.yaml", base=Path())


def outcome(attainment: float, replica_s: float, usd: float = 0.0) -> Any:
    return SimpleNamespace(attainment_requests=attainment, replica_seconds=replica_s, cost_usd=usd)


def test_each_policy_is_varied_by_what_a_user_of_it_sets() -> None:
    scenario = scenario_of(SLOTS)
    own = settings_of(scenario, choice("sizewise"))
    assert [each.models["*"].slo.quantile for each, _ in own if each.models["*"].slo] == list(QUANTILES)
    assert [policy.target_factor for _, policy in settings_of(scenario, choice("ray_serve"))] == list(FACTORS)
    static = PolicyChoice(name="static", mode=choice("static").mode, parameters={"replicas": 2})
    assert [policy.parameters["replicas"] for _, policy in settings_of(scenario, static)] == [1, 2, 3, 4]
    assert settings_of(scenario, choice("faro")) == [(scenario, choice("faro"))]


def test_rungs_take_one_trouble_away_each() -> None:
    knowing, instant = ladder_runs(scenario_of(SLOTS)).values()
    assert {policy.mode for _, policy in (*knowing, *instant)} == {choice("sizewise:perfect_forecast").mode}
    assert {each.models["*"].loading.median_s for each, _ in knowing} == {60.0}
    assert {each.models["*"].profile.load.total_s for each, _ in instant} == {0.0}


def test_rungs_are_compared_at_equal_attainment() -> None:
    found = {"knowing": [outcome(0.90, 100), outcome(1.0, 300)], "instant": [outcome(0.90, 80)]}
    rungs = ladder(scenario_of(SLOTS), outcome(0.95, 400), found)
    assert [rung.cost for rung in rungs[:3]] == [400, pytest.approx(200), 80]
    assert [rung.attainment for rung in rungs] == [0.95, 0.95, 0.90, 0.95]
    # 4 requests of 0.1 s a second for 1800 s, five times as many in the crowd, cannot be had for less
    assert 720 < rungs[3].cost < 5000


def test_on_machines_the_last_rung_packs_what_each_minute_needs() -> None:
    rungs = ladder(scenario_of(MACHINES), outcome(0.95, 400, usd=3.0), {})
    # Two replicas of 3 GiB on each machine of 8 GiB: one machine when quiet, and more in the crowd
    assert rungs[0].cost == 3.0
    assert 1.0 < rungs[1].cost < 3.0


def test_the_future_is_seen_as_far_ahead_as_a_load_takes() -> None:
    scenario = scenario_of(SLOTS)
    workload = workload_of(scenario)
    future = Future(workload, models_of(scenario, workload.names))
    before, soon = (future.seen("model-0", Demand(observed_at_s=at_s), at_s) for at_s in (700.0, 880.0))
    assert before.burst_per_s == pytest.approx(2.0, rel=0.6)
    assert before.forecast_per_s < 5 < soon.forecast_per_s < 15
    assert soon.burst_per_s < soon.forecast_per_s
    assert soon.envelope == ()
