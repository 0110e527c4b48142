"""Whole simulations: the real controller and today's autoscalers on small traces."""

import gzip
from pathlib import Path

import pytest

from sizewise.core.policies.registry import JOINT_POLICIES, POLICIES
from sizewise.protocols.errors import SizewiseError
from sizewise.simulation.parsing import choice, parse_scenario
from sizewise.simulation.running import Outcome, run_policy
from sizewise.simulation.scenario import Scenario

STEADY = """\
generate: {kind: poisson, duration_s: 600, rate_per_s: 8, models: 2}
models:
  "*": {service_ms: 100, cv: 0.2, load_s: 20, memory: 1GiB, slo: {p95_ms: 500}, queue: 50}
capacity: {replicas: 12}
"""
MACHINES = """\
generate: {kind: flash, duration_s: 900, rate_per_s: 5, peak: 6, at_s: 200, lasts_s: 400}
models:
  "*": {service_ms: 100, cv: 0.2, load: {start_s: 1, load_s: 10}, memory: 1GiB, slo: {p95_ms: 500}, queue: 100}
capacity:
  machines:
    small: {cpus: 2, memory: 2GiB, min: 1, max: 4, provision_s: 40, price_usd_per_h: 0.5, linger_s: 60}
"""


def scenario(text: str, base: Path = Path("/")) -> Scenario:
    return parse_scenario(text, file="s.yaml", base=base)


def run(text: str, policy: str = "sizewise") -> Outcome:
    outcome = run_policy(scenario(text), choice(policy))
    assert outcome.requests == outcome.served + outcome.shed + outcome.failed + outcome.in_flight
    return outcome


def test_the_controller_serves_steady_traffic_within_its_goal() -> None:
    outcome = run(STEADY)
    assert outcome.requests == pytest.approx(9600, rel=0.05)
    assert outcome.attainment_requests > 0.97
    assert 2 < outcome.mean_replicas < 6
    assert outcome.replica_seconds == pytest.approx(outcome.mean_replicas * 600)
    assert outcome.memory_byte_seconds == pytest.approx(outcome.replica_seconds * 2**30)
    assert {"queue", "envelope"} & {why.split()[0] for *_, why in outcome.decisions} or outcome.decisions


@pytest.mark.parametrize(
    "policy", [*POLICIES, *JOINT_POLICIES, "hpa:calibrated", "kpa:calibrated", "sizewise:size_blind"]
)
def test_every_policy_runs_and_loses_no_request(policy: str) -> None:
    outcome = run(STEADY, policy)
    assert outcome.peak_replicas <= 12
    assert outcome.served > 0


def test_the_same_seed_is_the_same_run_and_another_is_not() -> None:
    first, again = run(STEADY), run(STEADY)
    assert (first.p99_s, first.replica_seconds, first.decisions) == (
        again.p99_s,
        again.replica_seconds,
        again.decisions,
    )
    assert run(STEADY + "seed: 2\n").p99_s != first.p99_s


def test_all_policies_see_the_same_requests() -> None:
    assert len({run(STEADY, policy).requests for policy in ("sizewise", "static", "kpa")}) == 1


def test_a_cap_is_kept_and_what_is_beyond_it_waits_unpaid() -> None:
    capped = run(STEADY.replace("replicas: 12", "replicas: 2"), "hpa:calibrated")
    assert capped.peak_replicas == 2
    assert capped.replica_seconds == pytest.approx(1200)


def test_machines_are_obtained_paid_for_and_given_back() -> None:
    outcome = run(MACHINES)
    alone = 0.5 * 900 / 3600
    assert outcome.cost_usd > 1.5 * alone
    assert outcome.cost_usd < 4 * alone
    assert outcome.peak_replicas > 2
    sold_out = run(MACHINES.replace("linger_s: 60", "linger_s: 60, stock_outs: [[0, 900]]"))
    assert sold_out.cost_usd == pytest.approx(alone)
    assert sold_out.attainment_requests < outcome.attainment_requests


def test_what_needs_an_accelerator_gets_a_machine_that_has_one() -> None:
    text = """\
generate: {kind: poisson, duration_s: 600, rate_per_s: 4, models: 2}
models:
  model-0: {service_ms: 100, load_s: 5, memory: 1GiB, slo: {p95_ms: 500}}
  model-1: {service_ms: 100, load_s: 5, memory: 1GiB, device_memory: 8GiB, slo: {p95_ms: 500}}
capacity:
  machines:
    plain: {cpus: 4, memory: 8GiB, max: 2}
    device: {cpus: 4, memory: 8GiB, device_memory: 16GiB, min: 0, max: 1, provision_s: 30, price_usd_per_h: 6}
start_replicas: 0
"""
    outcome = run(text)
    assert outcome.by_model["model-0"]["attainment"] > 0.9
    assert 0.8 < outcome.by_model["model-1"]["attainment"] < 0.97, "its first requests wait for the machine"
    assert outcome.cost_usd == pytest.approx(1.0, rel=0.05), "one of them, for ten minutes"


def test_replicas_share_the_cores_of_their_machine() -> None:
    wide = run(
        MACHINES.replace("cpus: 2, memory: 2GiB, min: 1, max: 4", "cpus: 8, memory: 8GiB, min: 1, max: 1"), "static"
    )
    text = MACHINES.replace("cpus: 2, memory: 2GiB, min: 1, max: 4", "cpus: 1, memory: 8GiB, min: 1, max: 1")
    many = parse_scenario(text + "policies: [{name: static, replicas: 6}]\n", file="s.yaml", base=Path("/"))
    narrow = run_policy(many, many.policies[0])
    plenty = parse_scenario(
        text.replace("cpus: 1", "cpus: 8") + "policies: [{name: static, replicas: 6}]\n", file="s", base=Path("/")
    )
    assert narrow.attainment_requests < run_policy(plenty, plenty.policies[0]).attainment_requests
    assert wide.peak_replicas == 1


def test_a_cold_request_is_seen_before_the_next_tick() -> None:
    text = STEADY.replace("rate_per_s: 8", "rate_per_s: 0.005").replace("load_s: 20", "load_s: 2")
    slow = text + "decide_every_s: 60\nwake_s: 60\nstart_replicas: 0\n"
    quick = text + "decide_every_s: 60\nstart_replicas: 0\n"
    assert run(quick).cold_starts > 0
    assert (run(quick).p95_s or 0) < 5 < (run(slow).p95_s or 0)


def test_late_and_noisy_metrics_are_not_better() -> None:
    text = MACHINES.replace("cpus: 2, memory: 2GiB, min: 1, max: 4", "cpus: 16, memory: 16GiB, min: 1, max: 1")
    clear, blurred = run(text, "hpa:calibrated"), run(text + "metrics: {delay_s: 120, noise: 0.3}\n", "hpa:calibrated")
    assert blurred.attainment_requests < clear.attainment_requests


def test_the_beginning_may_be_left_out() -> None:
    whole, later = run(STEADY, "static"), run(STEADY + "window: {warmup_s: 300}\n", "static")
    assert later.replica_seconds == pytest.approx(whole.replica_seconds / 2)
    assert later.latency.sum() < 0.6 * whole.latency.sum()
    assert 0.4 * whole.requests < later.requests < 0.6 * whole.requests
    assert later.requests == later.served + later.shed + later.failed + later.in_flight
    assert later.served == later.latency.sum()


def test_columns_may_have_other_names_and_the_file_may_be_packed(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.csv.gz", "wt") as out:
        out.write("when,who,n\n0,a,30\n60,a,30\n60,b,30\n")
    columns = "trace: {path: t.csv.gz, columns: {time: when, model: who, requests: n}}"
    text = STEADY.replace("generate: {kind: poisson, duration_s: 600, rate_per_s: 8, models: 2}", columns)
    outcome = run_policy(scenario(text, tmp_path), choice("static"))
    assert outcome.requests == 90
    assert outcome.by_model["b"]["requests"] == 30


def test_a_parameter_that_a_policy_does_not_have_is_named() -> None:
    text = STEADY + "policies: [{name: kpa, stable_windw_s: 30}]\n"
    with pytest.raises(
        SizewiseError, match=r"s\.yaml:5: kpa: has no parameter 'stable_windw_s': it has activation_scale"
    ):
        run_policy(scenario(text), scenario(text).policies[0])
