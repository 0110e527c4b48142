"""Deploying into a system that serves: versions side by side, and files that are refused."""

import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from sizewise.demo.onnx_files import write_random_mlp
from tests.e2e.plane import doubling
from tests.e2e.steady_load import EXPECTED, ROW, Load
from tests.e2e.system import System, named, ready, replicas

AFTER = 40


@pytest.fixture(scope="module")
def shared() -> Iterator[System]:
    """One system for all: each test has models of its own."""
    with System() as made:
        onnx.save(doubling(), str(made.models / "m.onnx"))
        made.up(made.spec("", machine="{memory: 450MiB}"))
        yield made


@pytest.fixture
def system(shared: System) -> Iterator[System]:
    yield shared
    with shared.client as client:
        for model in shared.status()["models"]:
            client.undeploy(model["name"])


def same_answers(folder: Path, name: str = "second.onnx") -> Path:
    """Other bytes, another version, the same answers: whichever serves, no client can tell."""
    model = doubling()
    model.metadata_props.add(key="version", value=name)
    path = folder / name
    onnx.save(model, str(path))
    return path


def tripling(folder: Path) -> Path:
    model = doubling()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(3 * np.eye(4, dtype=np.float32), "w"))
    path = folder / "tripling.onnx"
    onnx.save(model, str(path))
    return path


def code(folder: Path, load: str, predict: str = "return {'y': 2 * inputs['x']}") -> Path:
    path = folder / "code.py"
    path.write_text(
        "INPUTS = [{'name': 'x', 'datatype': 'FP32', 'shape': [-1, 4]}]\n"
        "OUTPUTS = [{'name': 'y', 'datatype': 'FP32', 'shape': [-1, 4]}]\n"
        f"def load():\n    {load}\n"
        f"def predict(model, inputs):\n    {predict}\n"
    )
    return path


async def test_a_new_version_takes_over_without_a_failed_request(system: System) -> None:
    system.ok("deploy", "m", system.models / "m.onnx", "--min-replicas", "1")
    before, versions = await system.until(ready("m")), []
    async with Load(system.port, "m") as load:
        for step in range(3):
            path = same_answers(system.folder, f"v{step}.onnx")
            ran = await system.cli("deploy", "m", path, "--wait", "-o", "json")
            assert ran.code == 0, ran
            assert ran.json["rollout"]["state"] == "switched"
            assert ran.json["candidate"] is None
            versions.append(ran.json["version"])
            await load.more(AFTER)
    assert load.errors == []
    after = await system.until(lambda seen: len(replicas(seen, "m")) == 1)
    assert named(after, "m")["version"] == versions[-1]
    assert len({named(before, "m")["version"], *versions}) == 4
    assert not set(replicas(after, "m")) & set(replicas(before, "m"))
    codes = [each["code"] for each in system.explain("m")["decisions"]]
    assert "rollout" in codes


async def test_the_new_version_answers_after_the_switch(system: System) -> None:
    system.ok("deploy", "m", system.models / "m.onnx", "--min-replicas", "1", "--wait")
    await system.until(ready("m"))
    assert system.ask("m", ROW).json()["outputs"][0]["data"] == EXPECTED
    old = system.model("m")["version"]
    system.ok("deploy", "m", tripling(system.folder), "--wait")
    answer = system.ask("m", ROW).json()
    assert answer["outputs"][0]["data"] == [3 * value for value in ROW]
    assert answer["model_version"] == system.model("m")["version"] != old


@pytest.mark.parametrize(
    ("load", "predict", "words"),
    [
        pytest.param("raise ValueError('no weights today')", "return inputs", "no weights today", id="does not load"),
        pytest.param("return None", "raise KeyError('nobody home')", "nobody home", id="does not answer"),
        pytest.param("import os; os._exit(7)", "return inputs", "exit 7", id="dies"),
    ],
)
async def test_a_version_that_fails_leaves_the_old_one(system: System, load: str, predict: str, words: str) -> None:
    good = code(system.folder, "return None")
    system.ok("deploy", "c", good, "--allow-code", "--min-replicas", "1", "--wait")
    before = await system.until(ready("c"))
    bad = code(system.folder, load, predict)
    async with Load(system.port, "c") as clients:
        ran = await system.cli("deploy", "c", bad, "--allow-code", "--wait")
        await clients.more(AFTER)
    assert clients.errors == []
    assert ran.code == 1
    assert words in ran.line
    after = system.model("c")
    assert after["version"] == named(before, "c")["version"]
    assert after["candidate"] is None
    assert after["rollout"]["state"] == "failed"
    assert words in after["rollout"]["detail"]
    assert words in system.ok("status").out
    assert replicas(system.status(), "c") == replicas(before, "c")


async def test_waiting_for_a_new_model_shows_whether_it_can_be_woken(system: System) -> None:
    """Although it may sleep, and nobody has asked it yet."""
    bad = code(system.folder, "import os; os._exit(7)")
    ran = await system.cli("deploy", "c", bad, "--allow-code", "--wait")
    assert ran.code == 1
    assert "exit 7" in ran.line
    assert "is ready" in system.ok("deploy", "m", system.models / "m.onnx", "--wait").out
    assert system.model("m")["pinned"] is None


async def test_undeploying_in_use_answers_what_was_accepted(system: System) -> None:
    system.ok("deploy", "gone", system.models / "m.onnx", "--min-replicas", "1")
    system.ok("deploy", "stays", system.models / "m.onnx", "--min-replicas", "1")
    await system.until(lambda seen: ready("gone")(seen) and ready("stays")(seen))
    async with Load(system.port, "stays") as other, Load(system.port, "gone") as load:
        ran = await system.cli("undeploy", "gone")
        assert ran.code == 0, ran
        await system.until(lambda seen: not replicas(seen, "gone"))
        await other.more(AFTER)
    assert other.errors == []
    assert load.answered
    assert {error.split(":")[0] for error in load.errors} <= {"404"}, load.errors[:3]
    assert system.ask("gone", ROW).status_code == 404
    again = system.run("undeploy", "gone")
    assert again.code == 1
    assert "'gone' not found" in again.line


def test_a_model_that_is_too_large(system: System) -> None:
    path = system.folder / "large" / "model.onnx"
    path.parent.mkdir()
    write_random_mlp(path, [4, 1 << 13, 12 << 10, 4], seed=3, external=True)  # 400 MiB, and Sizewise itself needs 100
    kept = system.stored()
    ran = system.run("deploy", "large", path)
    (path.parent / "weights.bin").unlink()
    assert ran.code == 3
    assert re.search(r"'large' needs \d{3} MiB of memory but there is \d{3} MiB", ran.line)
    assert "raise machine.memory" in ran.line
    assert system.stored() <= kept
    assert named(system.status(), "large") == {}


def broken() -> list[tuple[str, bytes]]:
    whole = doubling().SerializeToString()
    return [
        ("corrupt.onnx", bytes(byte ^ 0x5A for byte in whole)),
        ("truncated.onnx", whole[: len(whole) // 2]),
        ("empty.onnx", b""),
        ("notes.txt", b"I am no model at all.\n"),
        ("forest.skops", b"PK\x03\x04 not a zip"),
    ]


@pytest.mark.parametrize(("name", "content"), broken(), ids=[name for name, _ in broken()])
def test_a_file_that_is_no_model(system: System, name: str, content: bytes) -> None:
    path = system.folder / name
    path.write_bytes(content)
    kept = system.stored()
    ran = system.run("deploy", "broken", path)
    assert ran.code == 1
    assert name in ran.line
    assert system.stored() <= kept
    assert named(system.status(), "broken") == {}


def test_a_file_that_does_not_exist(system: System) -> None:
    ran = system.run("deploy", "absent", system.folder / "absent.onnx")
    assert ran.code == 2
    assert "absent.onnx does not exist" in ran.line


async def test_a_pickle_is_refused_converted_and_deployed(system: System) -> None:
    rows, classes = load_iris(return_X_y=True)
    forest = RandomForestClassifier(5, random_state=0).fit(rows, classes)
    source, target = system.folder / "iris.pkl", system.folder / "iris.skops"
    source.write_bytes(pickle.dumps(forest))
    refused = system.run("deploy", "iris", source)
    assert refused.code == 1
    command = refused.line.rpartition("sizewise convert ")[2].split()
    assert command[0] == str(source)
    converted = system.run("convert", *command, state=False)
    assert converted.code == 0, converted
    system.ok("deploy", "iris", target, "--min-replicas", "1")
    await system.until(ready("iris"))
    assert named(system.status(), "iris")["runtime"] == "sklearn"


async def test_a_replica_of_an_old_version_is_not_left(system: System) -> None:
    """A version that is replaced while it still loads goes as well."""
    slow = code(system.folder, "import time; time.sleep(60)")
    system.ok("deploy", "c", slow, "--allow-code", "--min-replicas", "1")
    await system.until(lambda seen: named(seen, "c")["replicas"]["loading"] == 1)
    system.ok("deploy", "c", code(system.folder, "return None"), "--allow-code", "--wait")
    await system.until(lambda seen: ready("c")(seen) and len(replicas(seen, "c")) == 1)
    assert system.ask("c", ROW).status_code == 200
