"""Policies side by side, as the command and the Python API show them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sizewise
from sizewise.simulation.figures import FIGURES
from tests.scenarios.test_simulation import STEADY


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(STEADY + "policies: [sizewise, {name: static, replicas: 3}]\n")
    return path


def command(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "sizewise", "simulate", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_policies_run_side_by_side_and_tell_how_far_they_are(file: Path) -> None:
    told: list[tuple[str, float]] = []
    found = sizewise.simulate(file, on_progress=lambda name, share: told.append((name, share)))
    rows = found.rows()
    assert [tuple(row) for row in rows] == [FIGURES, FIGURES]
    assert [row["policy"] for row in rows] == ["sizewise", "static"]
    assert rows[1]["replica_seconds"] == pytest.approx(2 * 3 * 600)
    assert {name for name, _ in told} == {"sizewise", "static (replicas=3)"}
    assert max(share for _, share in told) == 1.0
    assert {row["policy"] for row in found.timeline()} == {"sizewise", "static (replicas=3)"}
    assert {row["model"] for row in found.models()} == {"model-0", "model-1"}
    assert all(row["policy"] == "sizewise" and row["reason"] for row in found.decisions())


def test_a_process_of_its_own_changes_nothing(file: Path) -> None:
    beside = sizewise.simulate(file).rows()[0]
    (alone,) = sizewise.simulate(file, policies=["sizewise"]).rows()
    assert alone == beside


def test_the_command_prints_json(file: Path) -> None:
    done = command(file, "--policy", "static,hpa:calibrated", "--seed", "4", "-o", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["policies"]
    assert [(row["policy"], row["mode"]) for row in rows] == [("static", "stock"), ("hpa", "calibrated")]
    assert rows[0]["requests"] == rows[0]["served"] + rows[0]["shed"] + rows[0]["failed"] + rows[0]["in_flight"]


def test_the_command_prints_a_table(file: Path) -> None:
    done = command(file, "--policy", "static")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^[\d,]+ requests for 2 models in 10m00s$", done.stdout, re.MULTILINE)
    assert re.search(r"^POLICY +MODE +IN SLO +MINUTES.* COST/BOUND$", done.stdout, re.MULTILINE)


def test_the_whole_of_a_comparison_has_frontiers_and_the_regret_ladder(file: Path) -> None:
    text = STEADY.replace("duration_s: 600", "duration_s: 90") + "policies: [sizewise, {name: hpa, mode: calibrated}]\n"
    file.write_text(text)
    told: list[str] = []
    found = sizewise.simulate(file, full=True, on_progress=lambda name, _: told.append(name))
    assert "other settings" in told
    settings = [row for row in found.frontiers() if row["policy"] == "hpa calibrated"]
    assert len({row["mean_replicas"] for row in settings}) > 1
    rungs = found.ladder()
    assert [rung["name"] for rung in rungs] == [
        "as it is",
        "knowing the rates to come",
        "and with loads in no time",
        "and packed as closely as can be",
    ]
    assert rungs[0]["cost"] == found.rows()[0]["replica_seconds"]
    assert rungs[0]["cost"] > rungs[-1]["cost"] > 0
    page = found.html()
    assert "Regret ladder" in page
    assert found.plot("ladder").svg in page
    assert set(found.as_json()) == {"policies", "frontiers", "ladder"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.yaml",), "nowhere.yaml: No such file or directory: give a scenario in YAML"),
        (("FILE", "--policy", "hpz"), "'hpz' is no policy: known are sizewise, size_blind, static"),
        (("FILE", "--policy", "help"), "--policy takes names with commas between them"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(file: Path, words: tuple[str, ...], said: str) -> None:
    done = command(*(file if word == "FILE" else word for word in words))
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_nothing_runs_when_there_is_nothing_to_count(file: Path) -> None:
    file.write_text(STEADY + "window: {warmup_s: 600}\n")
    with pytest.raises(sizewise.SizewiseError, match="leave something to count"):
        sizewise.simulate(file)


def test_the_report_is_one_file_that_loads_nothing(file: Path) -> None:
    found = sizewise.simulate(file)
    page = found.html()
    assert page.count("<svg") >= 5
    assert not re.search(r"<script|<link|src=|href=|url\(|https?:", page)
    for shown in ("sizewise", "static (replicas=3)", "Requests slower than", "attainment_model_minutes", "Decisions"):
        assert shown in page
    assert found.plot("latency").svg in page
    with pytest.raises(sizewise.SizewiseError, match="there are cost, replicas, demand, latency, cold_starts"):
        found.plot("pie")
