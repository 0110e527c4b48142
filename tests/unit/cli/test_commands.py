"""The commands without a running system: what they print, where, and with which exit code."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sizewise.cli.deploy import _given
from sizewise.cli.foreground import decision_lines
from sizewise.cli.init import template
from sizewise.cli.main import app
from sizewise.cli.show_explain import explain_view, figure_text
from sizewise.cli.show_status import COLUMNS, status_view
from sizewise.cli.show_up import difference_lines
from sizewise.core.units import MIB
from tests.repo.pins import cli_options

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may meet a system that somebody runs here."""
    monkeypatch.chdir(tmp_path)
    for name in ("SIZEWISE_STATE_DIR", "SIZEWISE_URL", "SIZEWISE_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["stats"], 2, "No such command 'stats'. Did you mean 'status'?", id="unknown command"),
        pytest.param(
            ["status", "--wach"], 2, "No such option: --wach (Possible options: --watch)", id="unknown option"
        ),
        pytest.param(["status", "-o", "xml"], 2, "'xml'", id="wrong value"),
        pytest.param(["explain"], 2, "Missing argument", id="missing argument"),
        pytest.param(["explain", "a", "-n", "0"], 2, "greater than or equal to 1", id="out of range"),
        pytest.param(["status"], 1, "no system runs in .sizewise: start one with: sizewise up", id="no system"),
        pytest.param(["status", "--url", "http://127.0.0.1:9"], 2, "--url needs the admin token", id="no token"),
        pytest.param(["logs", "gone"], 1, "log 'gone' not found: there are: none yet", id="no log"),
        pytest.param(["logs", "../admin-token"], 1, "not found", id="no log outside the folder"),
        pytest.param(["up", "gone.yaml"], 2, "gone.yaml: No such file or directory: write one with", id="no spec"),
        pytest.param(["up", "."], 2, "no file in it is a model that can be served", id="empty folder"),
        pytest.param(["profile", "gone.onnx"], 1, "gone.onnx: is not there", id="no model"),
        pytest.param(["profile", "x", "--memory-limit", "4XB"], 2, "--memory-limit: '4XB' is not a size", id="no size"),
        pytest.param(["convert", "gone.pkl", "-o", "x.onnx"], 2, "x.onnx: a converted model is a .skops", id="target"),
    ],
)
def test_failures_are_one_line_on_stderr(words: list[str], code: int, said: str) -> None:
    result = RUNNER.invoke(app, words)
    assert result.stdout == ""
    assert said in result.stderr
    assert result.stderr.startswith("sizewise: ")
    assert result.stderr.count("\n") == 1
    assert result.exit_code == code


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize(("command", "option"), [line.split()[1:3] for line in cli_options() if " float " in line])
def test_what_is_no_finite_number_is_refused(command: str, option: str, value: str) -> None:
    result = RUNNER.invoke(app, [command, option, value])
    assert result.exit_code == 2
    assert re.fullmatch(rf"sizewise: Invalid value for '{option}': .*\n", result.stderr), result.stderr


@pytest.mark.parametrize("words", [["--debug", "status"], ["status", "--debug"]])
def test_debug_shows_the_trace_wherever_it_stands(words: list[str]) -> None:
    result = RUNNER.invoke(app, words)
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("sizewise: no system runs")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_names_every_command(words: list[str]) -> None:
    result = RUNNER.invoke(app, words)
    assert result.exit_code == 0
    names = {"init", "profile", "convert", "up", "down", "deploy", "undeploy", "status", "explain", "logs", "demo"}
    assert names <= set(result.stdout.split())


def test_down_of_nothing_is_done() -> None:
    result = RUNNER.invoke(app, ["down", "-o", "json"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"state_dir": ".sizewise", "stopped": False})


def test_init_writes_its_spec_once(tmp_path: Path) -> None:
    assert RUNNER.invoke(app, ["init"]).exit_code == 0
    written = tmp_path / "sizewise.yaml"
    assert written.read_text() == template()
    written.write_text("mine")
    again = RUNNER.invoke(app, ["init"])
    assert (again.exit_code, written.read_text()) == (1, "mine")
    assert "--force" in again.stderr
    assert RUNNER.invoke(app, ["init", "--force"]).exit_code == 0
    assert written.read_text() == template()


def test_logs_are_shown_with_their_source(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "logs"
    folder.mkdir(parents=True)
    (folder / "digits.log").write_text("one\ntwo\nthree\nhalf a li")
    (folder / "keeper.log").write_text("begun\n")
    state = ["--state-dir", str(tmp_path / "state")]
    assert RUNNER.invoke(app, ["logs", *state, "-n", "2"]).stdout == "digits  two\ndigits  three\nkeeper  begun\n"
    assert RUNNER.invoke(app, ["logs", "digits", *state, "-n", "1"]).stdout == "three\n"
    lines = RUNNER.invoke(app, ["logs", "keeper", *state, "-o", "json"]).stdout
    assert json.loads(lines) == {"source": "keeper", "text": "begun"}


def model(**changes: Any) -> dict[str, Any]:
    return {
        "name": "a-model-with-quite-a-long-name",
        "version": "3f2a",
        "state": "ready",
        "replicas": {"ready": 1, "desired": 2, "loading": 1},
        "weights_bytes": 512 * MIB,
        "memory_bytes": 123 * MIB,
        "load_s": 1.25,
        "p95_s": 0.0123,
        "slo": {"quantile": 0.99, "latency_s": 0.2},
        "requests_total": 1234567,
        "errors_total": 0,
        "shed_total": 0,
        "reason": "40 requests/s need 2 for waits to stay within the SLO",
        "candidate": None,
        "rollout": None,
        "profile_age_s": 60.0,
        "profile_source": "measured",
        "figures": {
            "p50_s[1]": {"profiled": 0.001, "live": 0.002, "samples": 9, "age_s": 0.1},
            "p50_s[8]": {"profiled": 0.004, "live": None, "samples": 0, "age_s": None},
            "load_s": {"profiled": 1.0, "live": 1.25, "samples": 2, "age_s": 30.0},
        },
        **changes,
    }


MACHINE = {"cpus": 2, "memory_bytes": 1, "memory_used_bytes": 1, "disk_bytes": 1, "disk_used_bytes": 1}


def rendered(view: Any, width: int) -> list[str]:
    from rich.console import Console

    screen = Console(width=width, file=io.StringIO())
    with screen.capture() as captured:
        screen.print(view)
    return captured.get().splitlines()


def test_a_model_that_shares_a_process_says_so() -> None:
    def shown(**more: Any) -> str:
        lines = rendered(status_view({"models": [model(**more)], "machine": MACHINE}, width=100), 100)
        return " ".join(" ".join(lines).split())

    assert "in a shared process (beef)" in shown(hosts=["beef"])
    assert "shared process" not in shown(hosts=[])


def test_a_model_that_may_not_run_inside_the_gateway_says_why() -> None:
    why = "its call takes 140 us, and 100 is the most"
    refused = rendered(status_view({"models": [model(inline_refused=why)], "machine": MACHINE}, width=100), 100)
    assert f"not inside the gateway: {why}" in " ".join(" ".join(refused).split())
    explained = " ".join(rendered(explain_view({"model": model(inline_refused=why), "decisions": []}), 400))
    assert f"not inside the gateway: {why}" in explained
    explained = " ".join(rendered(explain_view({"model": model(inline_refused=None), "decisions": []}), 400))
    assert "not inside" not in explained


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_figures_are_whole_at_every_width(width: int) -> None:
    lines = rendered(status_view({"models": [model()], "machine": MACHINE}, width=width), width)
    assert max(len(line) for line in lines) <= width
    for text in ("512 MiB", "123 MiB", "1.2 s", "12.3 ms", "p99 200 ms", "1234567", "1/2", "ready"):
        assert text in lines[1]
    text = " ".join(" ".join(lines).split())
    assert "40 requests/s need 2 for waits to stay within the SLO" in text
    if width >= 200:
        assert lines[0].split() == list(COLUMNS)


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_profiled_and_live_stand_side_by_side_with_their_age(width: int) -> None:
    quiet = {name: {**figure, "live": None, "age_s": None} for name, figure in model()["figures"].items()}
    memory = {"profiled": 123 * MIB, "live": 1000 * MIB, "samples": 3, "age_s": 5.0}
    seen = model(figures={**model()["figures"], "replica_bytes": memory})
    models = [seen, model(name="quiet", figures=quiet)]
    lines = rendered(status_view({"models": models, "machine": MACHINE}, width=width), width)
    place = next(i for i, line in enumerate(lines) if line.startswith("LIVE"))
    assert lines[place].split() == ["LIVE", "CALL", "PROFILED", "LOAD", "PROFILED", "MEMORY", "PROFILED", "AGE"]
    assert re.sub(" +", " ", lines[place + 1]).endswith("2.0 ms 1.0 ms 1.2 s 1.0 s 1000 MiB 123 MiB now")
    assert lines[place + 1].startswith(seen["name"][:8])
    assert not lines[place + 2].startswith("quiet"), "of what nothing is known live there is nothing to compare"
    assert max(len(line) for line in lines) <= width
    silent = rendered(status_view({"models": models[1:], "machine": MACHINE}, width=width), width)
    assert not [line for line in silent if line.startswith("LIVE")]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_what_was_lost_shows_at_every_width(width: int) -> None:
    lost = model(errors_total=12, shed_total=345)
    lines = rendered(status_view({"models": [lost], "machine": MACHINE}, width=width), width)
    assert "1234567" in lines[1]
    assert ("1234567 (12 failed, 345 refused)" in lines[1]) == (width >= 150)
    assert ("12 failed; 345 refused" in " ".join(" ".join(lines).split())) == (width < 150)


def test_a_failed_rollout_shows_in_the_reason() -> None:
    rollout = {"state": "failed", "version": "9999", "detail": "signal 9"}
    view = status_view({"models": [model(rollout=rollout)], "machine": MACHINE}, width=200)
    assert "version 9999 was given up: signal 9" in "".join(rendered(view, 200))


def test_explain_shows_everything_a_decision_rests_on() -> None:
    decision = {
        "at_unix_s": 0.0,
        "version": "3f2a",
        "desired": 2,
        "wanted": 3,
        "ready": 1,
        "loading": 0,
        "code": "memory",
        "reason": "300 MiB needed, 100 MiB free",
        "numbers": {},
        "inputs": {"burst_per_s": 40.0, "idle_s": None, "load_s": 1.25, "replica_bytes": 123 * MIB, "source": "live"},
        "refused": [{"desired": 3, "reason": "no room", "code": "memory"}],
        "effect": ["start ab12"],
        "expected_attainment": 0.987,
    }
    lines = rendered(explain_view({"model": model(), "decisions": [decision]}), 120)
    text = "\n".join(lines)
    for part in (
        "1 -> 2 (wanted 3)", "300 MiB needed, 100 MiB free  [memory]", "burst/s=40", "load=1.2 s", "replica=123 MiB",
        "source=live", "3: no room", "98.7%", "start ab12", "p50 at batch 1", "measured, 1m00s ago",
    ):  # fmt: skip
        assert part in text
    assert "idle" not in text, "what is not known is left out"
    assert "batch 8" not in text, "neither are batch sizes that nobody has seen"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        pytest.param("load_s", 0.5, "500 ms", id="seconds"),
        pytest.param("burst_per_s", 0.5, "0.5", id="a rate is no duration"),
        pytest.param("replica_bytes", 2048, "2.0 KiB", id="bytes"),
        pytest.param("p95_s[8]", None, "-", id="unknown"),
    ],
)
def test_figures_have_the_unit_of_their_name(name: str, value: float | None, text: str) -> None:
    assert figure_text(name, value) == text


def test_only_what_changed_is_told() -> None:
    before, same = {"a": model(), "b": model()}, model(reason="other words")
    now = {"a": model(state="cold", replicas={"ready": 0, "desired": 0, "loading": 0}, reason="idle"), "b": same}
    (line,) = decision_lines(before, now)
    assert line.endswith(" a: 0 of 0 ready, cold: idle")
    assert decision_lines({}, now) == [], "what was there before is no news"


def test_a_difference_is_told_model_by_model() -> None:
    difference = {"added": ["a"], "changed": ["b"], "unchanged": ["c", "d"], "removed": ["e"], "kept": ["f"]}
    assert difference_lines(difference) == [
        "  + a",
        "  ~ b (changed)",
        "  - e",
        "  = f (deployed by hand; --prune removes it)",
        "  2 unchanged",
    ]


def test_zero_is_given_and_absence_is_not() -> None:
    assert _given({"min_replicas": 0, "max_replicas": None, "slo": {}}) == {"min_replicas": 0}
