"""``status`` and ``explain`` hold the keys that were promised, with values that can be true."""

from collections.abc import Iterator

import onnx
import psutil
import pytest

from tests.e2e.plane import doubling
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


async def test_status_has_what_was_promised(system: System) -> None:
    onnx.save(doubling(), str(system.models / "m.onnx"))
    system.up(system.spec("m: {uri: models/m.onnx, slo: {p95_ms: 500}}\nasleep: {uri: models/m.onnx}"))
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
    assert 0 < model["p95_s"] < 0.5
    assert model["memory_bytes"] > 0
    assert 0 < status["machine"]["memory_used_bytes"] <= status["machine"]["memory_bytes"]
    roles = {process["role"] for process in status["processes"]}
    assert roles == {"controller", "keeper", "gateway", "warm", "replica"}
    for process in status["processes"]:
        words = ["sizewise", process["role"], *([process["model"]] if process["model"] else [])]
        title = " ".join(psutil.Process(process["pid"]).cmdline()).split()
        assert title == [*words, "--state-dir", str(system.state_dir)]
    decision = system.ok("explain", "m", "-o", "json").json["decisions"][0]
    assert decision.keys() >= DECISION_KEYS
    unknown = system.run("explain", "nobody")
    assert (unknown.code, "deployed are: asleep, m" in unknown.line) == (1, True)
    assert "loaded m@" in system.ok("logs", "m").out
