"""What is learned from the past: never from the part that is judged by."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from sizewise.protocols.errors import UsageError
from sizewise.simulation import training
from sizewise.simulation.calibrating import incumbent_for
from sizewise.simulation.parsing import choice, parse_scenario
from sizewise.simulation.scenario import Scenario, TraceSource
from sizewise.simulation.training import learned, past_of, split_of

HOURS = 26
TEXT = """\
trace: {path: t.csv, from_s: 90000, to_s: 93600}
models: {"*": {service_ms: 100, load_s: 20, slo: {p95_ms: 500}}}
capacity: {replicas: 30}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    """Hour h of the trace has h requests a second, all in its first half at twice that."""
    rows = [f"{m * 60},a,{120 * (m // 60) if m % 60 < 30 else 0}" for m in range(HOURS * 60)]
    (tmp_path / "t.csv").write_text("timestamp_s,model,requests\n" + "\n".join(rows) + "\n")
    return parse_scenario(TEXT, file="s.yaml", base=tmp_path)


def moved(scenario: Scenario, from_s: float, to_s: float) -> Scenario:
    assert isinstance(scenario.source, TraceSource)
    return replace(scenario, source=replace(scenario.source, from_s=from_s, to_s=to_s))


def window(scenario: Scenario) -> tuple[float, float | None]:
    assert isinstance(scenario.source, TraceSource)
    return scenario.source.from_s, scenario.source.to_s


def never(_runs: object, _name: str) -> tuple[()]:
    raise AssertionError("there is nothing to try")


def test_training_ends_where_judging_begins(scenario: Scenario) -> None:
    split = split_of(scenario)
    assert window(split.past) == (0.0, 90000.0)
    assert window(split.train) == (86400.0, 90000.0)
    assert split.judged == scenario


def test_without_a_past_the_first_third_is_for_training_and_counts_for_nobody(scenario: Scenario) -> None:
    split = split_of(moved(scenario, 0.0, 9000.0))
    assert window(split.train) == (0.0, 3000.0)
    assert window(split.judged) == (3000.0, 9000.0)


def test_nothing_is_cut_off_for_whoever_does_without_a_past(scenario: Scenario) -> None:
    early = moved(scenario, 0.0, 9000.0)
    asked = [choice("ec2_predictive"), choice("hpa:calibrated")]
    assert learned(early, asked, kept=None, run_all=never) == (early, asked)


def test_hours_of_the_past_have_means_and_peaks(scenario: Scenario) -> None:
    past = past_of(split_of(scenario).past)["a"]
    assert len(past.mean_per_s) == 25
    assert past.mean_per_s[10] == pytest.approx(10.0, rel=0.02)
    assert past.peak_per_s[10] == pytest.approx(20.0, rel=0.02)


def test_peaks_of_the_past_size_static_and_write_crons_and_hours_feed_ec2(scenario: Scenario) -> None:
    asked = [choice(f"{name}:calibrated") for name in ("static", "keda_cron", "ec2_predictive", "hpa")]
    judged, found = learned(scenario, asked, kept=None, run_all=never)
    assert judged == scenario
    model = scenario.models["*"]
    made = [incumbent_for(policy, model, past=policy.past.get("a")).config for policy in found]
    # 48 requests a second at the peak of hour 24, ten a second by each replica at the most
    assert 5 <= made[0].replicas <= 8
    crons = made[1].crons
    # Time begins with hour 25 of the trace, a day behind hour 1, which was the quietest but one
    assert (crons[0].start_s, crons[0].replicas) == (0.0, 1)
    assert {cron.every_s for cron in crons} == {86400.0}
    assert made[2].history[24] == pytest.approx(2.4, rel=0.02)
    assert found[3] == asked[3]


def test_cron_triggers_want_a_day_of_past(scenario: Scenario) -> None:
    with pytest.raises(UsageError, match="only 2 hours come before this window: set trace"):
        learned(moved(scenario, 7200.0, 10800.0), [choice("keda_cron")], kept=None, run_all=never)


def test_tuning_takes_the_cheapest_setting_that_keeps_the_goal_and_remembers_it(
    scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = [{"target": factor} for factor in (0.5, 1.0, 2.0, 4.0)]
    monkeypatch.setattr(training, "grid_of", lambda _: grid)
    tried = []

    def run_all(runs: list[tuple[Scenario, object]], name: str) -> list[SimpleNamespace]:
        tried.append((name, [window(each) for each, _ in runs]))
        rows = ((0.99, 40.0), (0.96, 20.0), (0.97, 30.0), (0.5, 5.0))
        return [SimpleNamespace(attainment_requests=a, replica_seconds=cost) for a, cost in rows]

    for _ in range(2):
        _, (found,) = learned(scenario, [choice("kpa:tuned")], kept=tmp_path / "kept", run_all=run_all)  # type: ignore[arg-type]  # outcomes of two figures
        assert found.label == "kpa tuned"
    assert tried == [("tuning kpa", [(86400.0, 90000.0)] * 4)]
