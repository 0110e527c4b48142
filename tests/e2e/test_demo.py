"""The demonstration on its small models: what its report says is what gateway and controller counted."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sizewise import api
from sizewise.cli.demo import weigh
from sizewise.controller.report import ModelState
from sizewise.core.profiles import ModelProfile
from sizewise.demo.load import Call, Outcome, replay
from sizewise.demo.models import MODELS, DemoModel, build_all
from sizewise.demo.report import Report
from sizewise.demo.run import Run, write_report, write_spec
from sizewise.demo.show import STYLES, live_view, plain_line, report_view
from sizewise.demo.timeline import Moment, Timeline
from sizewise.demo.traffic import Arrival, arrivals

SMALL = tuple(model for model in MODELS if model.name in {"digits", "iris", "outliers", "lookup", "legacy"})
WEIGHED = frozenset({"digits", "iris"})
SECONDS = 10.0
COUNTED = ("requests", "answered", "shed", "failed", "cold_starts")
CODES = ("2xx", "4xx", "5xx", "shed", "cancelled")
SLOW = "import time\n\n\ndef load():\n    time.sleep(600)\n\n\ndef predict(model, inputs):\n    return inputs\n"


def sizewise(*args: str) -> None:
    subprocess.run([sys.executable, "-m", "sizewise", *args], check=True, capture_output=True, timeout=120)


@pytest.mark.timeout(180)
def test_the_report_agrees_with_the_counters_of_the_gateway(tmp_path: Path) -> None:
    assert all(made for _, made in build_all(tmp_path / "models", SMALL))
    assert not any(made for _, made in build_all(tmp_path / "models", SMALL)), "a second run builds nothing"
    state = str(tmp_path / "state")
    weighed = weigh(tmp_path, Path(state), tuple(model for model in SMALL if model.name in WEIGHED))
    sizewise("up", str(write_spec(tmp_path, SMALL)), "--state-dir", state, "--detach")
    moments: list[Moment] = []
    try:
        with api.connect(state_dir=Path(state)) as client:
            run = Run(seconds=SECONDS, models=SMALL, weighed=weighed)
            report = run.report(asyncio.run(run.go(client, moments.append)))
            counted, after = Counted(client), client.status()
    finally:
        sizewise("down", "--state-dir", state)
    write_report(report, tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["requests"] == len(arrivals(SECONDS, run.seed, {m.name for m in SMALL}))
    assert written["replica_seconds"] > 0
    assert written["memory_budget_bytes"] == after["machine"]["memory_bytes"]
    for row in (*written["models"], written):
        name = row.get("name")
        assert {key: row[key] for key in COUNTED} == counted.totals(name)
        # The gateway's clock stops earlier than that of whoever waits for its answer
        assert row["slo_attainment"] is None or 0 <= row["slo_attainment"] * row["requests"] <= counted.within_slo(name)
        for figure in ("replica_seconds", "memory_byte_seconds"):
            earlier, later = _summed(moments[-1].status, figure, name), _summed(after, figure, name)
            assert earlier - 1e-6 <= row[figure] <= later + 1e-6, f"{figure} of {name or 'all'}"
    _looks_right(moments, report, run.timeline)
    _compares_with_what_was_measured(report, weighed)


class Counted:
    """The metrics page, by model."""

    def __init__(self, client: api.Client) -> None:
        token = (client.state_dir or Path()) / "admin-token"
        headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
        text = httpx.get(f"{client.url}/metrics", headers=headers).text
        self._samples = [s for family in text_string_to_metric_families(text) for s in family.samples]

    def _sum(self, metric: str, model: str | None, code: str | None = None) -> int:
        return sum(
            int(s.value)
            for s in self._samples
            if s.name == metric and model in {None, s.labels["model"]} and code in {None, s.labels.get("code")}
        )

    def totals(self, model: str | None) -> dict[str, int]:
        """What the report says of requests and starts; None: of all models."""
        by_code = {code: self._sum("sizewise_requests_total", model, code) for code in CODES}
        return {
            "requests": self._sum("sizewise_requests_total", model),
            "answered": by_code["2xx"],
            "shed": by_code["shed"],
            "failed": by_code["4xx"] + by_code["5xx"] + by_code["cancelled"],
            "cold_starts": self._sum("sizewise_cold_starts_total", model),
        }

    def within_slo(self, model: str | None) -> int:
        return self._sum("sizewise_requests_within_slo_total", model)


def _summed(status: dict[str, Any], figure: str, model: str | None) -> float:
    """A counter of the status; None: of all models."""
    return float(sum(row[figure] for row in status["models"] if model in {None, row["name"]}))


def _compares_with_what_was_measured(report: Report, weighed: Mapping[str, ModelProfile]) -> None:
    """One replica of each, from the profile rather than from what production made of it."""
    assert set(weighed) == WEIGHED
    for row in report.models:
        assert row.profile_measured == (row.name in WEIGHED)
        if row.profile_measured:
            memory = weighed[row.name].memory
            replica_bytes = memory.replica_bytes + memory.mapped_bytes
            assert row.always_on_memory_byte_seconds == pytest.approx(replica_bytes * report.lasted_s)
        else:
            assert row.always_on_memory_byte_seconds > 0


def _looks_right(moments: list[Moment], report: Report, timeline: Timeline) -> None:
    from rich.console import Console

    screen = Console(width=100, record=True)
    screen.print(live_view(moments[-1]))
    screen.print(report_view(report, timeline, width=100))
    text = screen.export_text()
    assert all(model.name in text for model in SMALL)
    assert "Computed from" in text
    assert "~Not measured beforehand, so as expected at the end of this run: outliers, lookup, legacy." in text
    assert text.count("~") == 1 + sum(not row.profile_measured for row in report.models)
    assert set(get_args(ModelState)) == set(STYLES)
    assert "digits" in plain_line(moments[-1])


def test_a_model_that_takes_too_long_to_weigh_ends_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    models = tuple(
        DemoModel(name=name, uri=f"{name}.py", what="", build=Path.mkdir, slo_p95_ms=100) for name in ("slow", "wrong")
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models/slow.py").write_text(SLOW)
    (tmp_path / "models/wrong.py").write_text("no model")
    assert weigh(tmp_path, tmp_path / "state", models, limit_s=2.0) == {}
    said = capfd.readouterr().err.splitlines()
    assert any("--time-limit" in line for line in said)
    assert said[-1] == "not every model could be measured (see above): those go on with their estimates"


def test_a_backlog_is_worked_off_in_time_that_grows_with_its_length_only() -> None:
    calls = {"digits": [Call("/v2/models/digits/infer", b"{}")]}
    late = [Arrival(at_s=0.0, model="digits") for _ in range(3000)]
    outcomes: list[Outcome] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"{}"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await replay(late, calls, url=f"http://127.0.0.1:{port}", done=outcomes.append)

    used_s = time.process_time()
    asyncio.run(run())
    assert [outcome.status for outcome in outcomes] == [200] * len(late)
    assert time.process_time() - used_s < 5
