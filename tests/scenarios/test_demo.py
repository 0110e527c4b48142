"""The demo's traffic on a simulated clock: small models go in soon after their bursts, the large one stays."""

import csv
from bisect import bisect_right
from itertools import pairwise

import pytest

from sizewise.demo.models import MODELS, SEED
from sizewise.demo.traffic import ATLAS_AT, RATES, arrivals
from sizewise.simulation.parsing import choice, parse_scenario
from sizewise.simulation.running import Outcome, run_policy

SECONDS = 120.0
SOON_S = 30.0
FREE = "1250MiB"
"""The demo's budget without what Sizewise itself takes."""
WEIGHTS = {
    "digits": (0.006, 0.02, "6MiB"),
    "iris": (0.1, 0.2, "10MiB"),
    "wine": (4.2, 0.2, "16MiB"),
    "progression": (2.0, 0.2, "15MiB"),
    "cancer": (0.1, 0.03, "9MiB"),
    "cellar": (0.1, 0.03, "10MiB"),
    "diabetes": (0.07, 0.08, "18MiB"),
    "outliers": (0.01, 0.01, "4MiB"),
    "lookup": (40.0, 0.05, "3MiB"),
    "encoder": (0.9, 0.1, "61MiB"),
    "tagger": (23.6, 0.12, "324MiB"),
    "ranker": (23.6, 0.12, "324MiB"),
    "vision": (23.6, 0.12, "324MiB"),
    "atlas": (60.0, 3.0, "520MiB"),
    "legacy": (2.0, 1.2, "120MiB"),
}
"""Milliseconds of a call, seconds of a load and memory, as ``sizewise profile`` measures them on two cores."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("demo")
    with (folder / "demo.csv").open("w") as out:
        rows = csv.writer(out)
        rows.writerow(("timestamp_s", "model"))
        rows.writerows((a.at_s, a.model) for a in arrivals(SECONDS, SEED, set(WEIGHTS)))
    return run_policy(parse_scenario(_scenario(), file="demo.yaml", base=folder), choice("sizewise"))


def _scenario() -> str:
    lines = []
    for model in MODELS:
        call_ms, load_s, memory = WEIGHTS[model.name]
        scaling = f"{{max_replicas: {model.max_replicas}, priority: {model.priority}}}"
        lines.append(
            f"  {model.name}: {{service_ms: {call_ms}, cv: 0.2, load_s: {load_s}, memory: {memory}, "
            f"slo: {{p95_ms: {model.slo_p95_ms}}}, scaling: {scaling}}}"
        )
    capacity = f"capacity: {{machines: {{one: {{cpus: 2, memory: {FREE}, load_slots: 2}}}}}}"
    return "\n".join(("trace: {path: demo.csv}", "models:", *lines, capacity, "start_replicas: 0", ""))


def desired(outcome: Outcome, model: str, share: float) -> int:
    """Replicas wanted when this share of the run has passed."""
    steps = [(at_s, count) for at_s, name, count, _ in outcome.decisions if name == model]
    place = bisect_right([at_s for at_s, _ in steps], share * SECONDS)
    return steps[place - 1][1] if place else 0


@pytest.mark.parametrize(
    ("model", "end", "left"),
    [
        pytest.param("wine", 0.40, 0, id="one burst"),
        pytest.param("progression", 0.62, 0, id="one burst in the busiest part"),
        pytest.param("cancer", 0.26, 0, id="between two bursts"),
        pytest.param("cancer", 0.66, 0, id="after the second"),
        pytest.param("lookup", 0.34, 1, id="two replicas, and one is enough afterwards"),
        pytest.param("lookup", 0.50, 0, id="no longer asked"),
        pytest.param("diabetes", 0.55, 0, id="asked slowly for a long time"),
    ],
)
def test_a_small_model_goes_in_soon_after_its_burst(outcome: Outcome, model: str, end: float, left: int) -> None:
    moment = 0.5 / SECONDS
    assert RATES[model](end - moment) > RATES[model](end + moment), "a burst ends here"
    assert desired(outcome, model, end - moment) > left
    assert desired(outcome, model, end + SOON_S / SECONDS) <= left


def test_the_large_model_stays_while_nobody_asks_it(outcome: Outcome) -> None:
    gaps_s = [SECONDS * (later - earlier) for earlier, later in pairwise(ATLAS_AT)]
    assert max(gaps_s) > SOON_S, "or it had no time to go"
    seconds = range(round(SECONDS * ATLAS_AT[1]), round(SECONDS))
    assert {desired(outcome, "atlas", second / SECONDS) for second in seconds} == {1}


def test_the_demo_keeps_its_goals_in_simulated_time(outcome: Outcome) -> None:
    assert outcome.failed == 0
    assert outcome.attainment_requests > 0.98
