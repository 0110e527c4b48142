"""When servers that users bring start, die, go and come back: seen by their clients and by ``sizewise explain``."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.up import System, sizewise, up

TINY = Path(__file__).with_name("user_servers") / "tiny.py"
PYTHON = f'"{sys.executable}", -I, -S'
SPEC = f"""
models:
  tiny: {{command: [{PYTHON}, "{TINY}", "{{port}}"]}}
  kept:
    command: [{PYTHON}, "{TINY}", "{{port}}"]
    scaling: {{min_replicas: 1}}
  never:
    command: [{PYTHON}, -c, "import signal; signal.pause()"]
    ready: {{path: /healthz, timeout_s: 0.5}}
  dies: {{command: [{PYTHON}, -c, "raise SystemExit('no licence found')"]}}
  absent: {{command: [no-such-program-here, "{{port}}"]}}
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with up(SPEC, tmp_path_factory.mktemp("spec")) as running:
        yield running


def answered_by(system: System, model: str) -> int:
    answer = system.http.get(f"/models/{model}/x")
    assert answer.status_code == 200, answer.text
    return int(answer.json()["pid"])


def explained(system: System, model: str) -> str:
    run = sizewise("explain", model, "--state-dir", system.state_dir)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_it_goes_when_nobody_asks_and_wakes_when_somebody_does(system: System) -> None:
    first = answered_by(system, "tiny")
    process = psutil.Process(first)
    assert system.until("tiny", lambda seen: seen["state"] == "ready")["replicas"]["ready"] == 1
    cold = system.until("tiny", lambda seen: seen["state"] == "cold" and seen["replicas"]["ready"] == 0)
    assert cold["memory_bytes"] == 0
    process.wait(10)
    assert "idle for" in explained(system, "tiny")
    assert answered_by(system, "tiny") != first
    assert system.model("tiny")["errors_total"] == 0


def test_a_killed_one_is_started_again_before_anybody_asks(system: System) -> None:
    system.until("kept", lambda seen: seen["replicas"]["ready"] == 1)
    first = answered_by(system, "kept")
    psutil.Process(first).kill()
    system.until("kept", lambda seen: seen["last_exit"] == "signal 9" and seen["replicas"]["ready"] == 1)
    assert system.pid("command", "kept") != first
    assert answered_by(system, "kept") == system.pid("command", "kept")
    assert system.model("kept")["errors_total"] == 0
    assert "last exit signal 9" in explained(system, "kept")


def test_killed_between_requests_it_costs_no_client_an_answer(system: System) -> None:
    pids = set()
    for _ in range(3):
        pids.add(pid := answered_by(system, "kept"))
        # One that dies before it was seen ready counts as one that does not start, and three of those are parked
        system.until("kept", lambda model: model["replicas"]["ready"] == 1)
        psutil.Process(pid).kill()
    pids.add(answered_by(system, "kept"))
    assert len(pids) == 4
    assert system.model("kept")["errors_total"] == 0


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        pytest.param("never", "GET /healthz gave no answer for 0.5 s: correct ready.path", id="never ready"),
        pytest.param("dies", "exit 1: no licence found", id="ends at once"),
        pytest.param("absent", "cannot start 'no-such-program-here", id="no such program"),
    ],
)
def test_one_that_does_not_start_says_why(system: System, model: str, reason: str) -> None:
    answer = system.http.get(f"/models/{model}/x")
    assert answer.status_code == 503
    assert reason in answer.json()["error"]
    assert int(answer.headers["retry-after"]) >= 1
    seen = system.until(model, lambda seen: seen["state"] == "failed")
    assert reason in seen["reason"]
    assert reason in explained(system, model)
    assert system.processes("command", model) == []
    assert answered_by(system, "tiny"), "the others do not notice"
