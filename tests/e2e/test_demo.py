"""The demonstration on its small models: what its report says is what the gateway counted."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sizewise import api
from sizewise.cli.demo import weigh
from sizewise.demo.models import MODELS, DemoModel, build_all
from sizewise.demo.report import Report
from sizewise.demo.run import Run, write_report, write_spec
from sizewise.demo.show import live_view, plain_line, report_view
from sizewise.demo.timeline import Moment, Timeline
from sizewise.demo.traffic import arrivals

SMALL = tuple(model for model in MODELS if model.name in {"digits", "iris", "outliers", "lookup", "legacy"})
SECONDS = 10.0
SLOW = "import time\n\n\ndef load():\n    time.sleep(600)\n\n\ndef predict(model, inputs):\n    return inputs\n"


def sizewise(*args: str) -> None:
    subprocess.run([sys.executable, "-m", "sizewise", *args], check=True, capture_output=True, timeout=120)


@pytest.mark.timeout(180)
def test_the_report_agrees_with_the_counters_of_the_gateway(tmp_path: Path) -> None:
    assert all(made for _, made in build_all(tmp_path / "models", SMALL))
    assert not any(made for _, made in build_all(tmp_path / "models", SMALL)), "a second run builds nothing"
    state = str(tmp_path / "state")
    sizewise("up", str(write_spec(tmp_path, SMALL)), "--state-dir", state, "--detach")
    moments: list[Moment] = []
    try:
        with api.connect(state_dir=Path(state)) as client:
            run = Run(seconds=SECONDS, models=SMALL)
            report = run.report(asyncio.run(run.go(client, moments.append)))
            counted = _counted(client)
    finally:
        sizewise("down", "--state-dir", state)
    write_report(report, tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["requests"] == sum(counted.values()) == len(arrivals(SECONDS, run.seed, {m.name for m in SMALL}))
    assert {row["name"]: row["requests"] for row in written["models"]} == counted
    assert written["failed"] == 0
    assert written["answered"] + written["shed"] == written["requests"]
    assert written["replica_seconds"] == pytest.approx(sum(row["replica_seconds"] for row in written["models"]))
    assert 0 < written["replica_seconds"] < written["always_on_replica_seconds"]
    _looks_right(moments, report, run.timeline)


def _counted(client: api.Client) -> dict[str, int]:
    """Requests by model, from the metrics page."""
    token = (client.state_dir or Path()) / "admin-token"
    headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
    text = httpx.get(f"{client.url}/metrics", headers=headers).text
    counted: dict[str, int] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "sizewise_requests_total":
                model = sample.labels["model"]
                counted[model] = counted.get(model, 0) + int(sample.value)
    return counted


def _looks_right(moments: list[Moment], report: Report, timeline: Timeline) -> None:
    from rich.console import Console

    screen = Console(width=100, record=True)
    screen.print(live_view(moments[-1]))
    screen.print(report_view(report, timeline, width=100))
    text = screen.export_text()
    assert all(model.name in text for model in SMALL)
    assert "Computed from" in text
    assert "digits" in plain_line(moments[-1])


def test_a_model_that_takes_too_long_to_weigh_ends_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    models = tuple(
        DemoModel(name=name, uri=f"{name}.py", what="", build=Path.mkdir, slo_p95_ms=100) for name in ("slow", "wrong")
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models/slow.py").write_text(SLOW)
    (tmp_path / "models/wrong.py").write_text("no model")
    weigh(tmp_path, tmp_path / "state", models, limit_s=2.0)
    said = capfd.readouterr().err.splitlines()
    assert any("--time-limit" in line for line in said)
    assert said[-1] == "not every model could be measured (see above): those go on with their estimates"
