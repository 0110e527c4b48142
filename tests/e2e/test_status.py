"""``status`` and ``explain`` hold the keys that were promised, with values that can be true."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import psutil
import pytest

from sizewise.protocols.backend import HoldWarm, StartReplica
from tests.e2e.plane import Plane, doubling, publish
from tests.e2e.steady_load import ROW, Load
from tests.e2e.system import System, named, ready

MODEL_KEYS = {
    *("name", "version", "state", "replicas", "weights_bytes", "memory_bytes", "load_s"),
    *("requests_total", "errors_total", "shed_total", "slo_attainment", "p95_s", "reason"),
}
MACHINE_KEYS = {"cpus", "memory_bytes", "memory_used_bytes", "disk_bytes", "disk_used_bytes"}
PROCESS_KEYS = {"role", "pid", "model", "version", "memory_bytes"}
DECISION_KEYS = {"inputs", "code", "reason", "refused", "effect", "desired", "at_unix_s"}


@pytest.fixture
def system() -> Iterator[System]:
    with System() as made:
        yield made


def assert_titled(pid: int, role: str, model: str | None, state_dir: Path) -> None:
    title = " ".join(psutil.Process(pid).cmdline()).split()
    assert title == ["sizewise", role, *([model] if model else []), "--state-dir", str(state_dir)]


async def test_status_has_what_was_promised(system: System) -> None:
    onnx.save(doubling(), str(system.models / "m.onnx"))
    system.up(system.spec("m: {uri: models/m.onnx, slo: {p95_ms: 30000}}\nasleep: {uri: models/m.onnx}"))
    quiet = system.ok("status", "-o", "json").json
    assert {model["name"]: model["state"] for model in quiet["models"]} == {"asleep": "cold", "m": "cold"}
    assert all(model["slo_attainment"] is None and model["p95_s"] is None for model in quiet["models"])
    assert system.ask("m", ROW).status_code == 200
    async with Load(system.port, "m") as load:
        await load.more(20)
    await system.until(lambda seen: ready("m")(seen) and named(seen, "m")["requests_total"] > load.answered)
    status = system.ok("status", "-o", "json").json
    assert status["models"][0].keys() >= MODEL_KEYS
    assert status["machine"].keys() == MACHINE_KEYS
    assert all(process.keys() == PROCESS_KEYS for process in status["processes"])
    model = named(status, "m")
    assert model["replicas"].keys() == {"desired", "ready", "loading"}
    assert model["slo_attainment"] == 1.0
    assert 0 < model["p95_s"] < 30
    assert model["memory_bytes"] > 0
    assert 0 < status["machine"]["memory_used_bytes"] <= status["machine"]["memory_bytes"]
    roles = {process["role"] for process in status["processes"]}
    assert roles == {"controller", "keeper", "gateway", "warm", "replica"}
    for process in status["processes"]:
        assert_titled(process["pid"], process["role"], process["model"], system.state_dir)
    decision = system.ok("explain", "m", "-o", "json").json["decisions"][0]
    assert decision.keys() >= DECISION_KEYS
    unknown = system.run("explain", "nobody")
    assert (unknown.code, "deployed are: asleep, m" in unknown.line) == (1, True)
    assert "loaded m@" in system.ok("logs", "m").out


async def test_processes_that_not_every_system_has_title_themselves_alike() -> None:
    async with Plane(grpc_port=0) as plane:
        files = plane.state_dir / "store" / "held"
        files.mkdir(parents=True)
        (files / "weights.bin").write_bytes(b"0")
        shared = replace(plane.onnx("m", "m-1"), host="beef")
        held = HoldWarm(model="held", version="1", path=str(files), files=("weights.bin",))
        await plane.backend.apply([publish("m"), StartReplica(spec=shared), held])
        await plane.ready("m-1")
        wanted = {"grpc", "holder", "host"}
        seen = await plane.until(lambda seen: wanted <= {process.role for process in seen.processes})
        for process in [process for process in seen.processes if process.role in wanted]:
            assert_titled(process.pid, process.role, process.model, plane.state_dir)
