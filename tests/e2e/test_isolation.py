"""Where a model runs is what its owner said, from the spec to the processes."""

import re
from collections.abc import Iterator

import onnx
import psutil
import pytest

from tests.e2e.plane import doubling
from tests.e2e.steady_load import ROW
from tests.e2e.system import System


@pytest.fixture
def system() -> Iterator[System]:
    with System() as made:
        yield made


def test_inside_the_gateway_or_in_a_process_of_its_own(system: System) -> None:
    onnx.save(doubling(), str(system.models / "m.onnx"))
    system.ok("profile", system.models / "m.onnx", "-o", "json")  # nobody runs inside who was not measured
    system.up(
        system.spec("inside: {uri: models/m.onnx, isolation: inline}\nown: {uri: models/m.onnx, isolation: process}")
    )
    for name in ("inside", "own"):
        assert system.ask(name, ROW).status_code == 200
    status = system.ok("status", "-o", "json").json
    replicas = [each["model"] for each in status["processes"] if each["role"] == "replica"]
    assert replicas == ["own"]
    assert {m["name"]: m["replicas"]["ready"] for m in status["models"]} == {"inside": 1, "own": 1}
    (gateway,) = [each["pid"] for each in status["processes"] if each["role"] == "gateway"]
    opened = {mapping.path for mapping in psutil.Process(gateway).memory_maps()}
    assert any(re.search("onnxruntime", path) for path in opened), "the gateway computes"
    for name, words in (("inside", "inside the gateway"), ("own", "process")):
        explained = system.ok("explain", name).out
        assert words in explained
        assert f"not {words}" not in explained
