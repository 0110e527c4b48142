"""Load-ready forms in a running system: they appear, take over without a word, and give way when room is short."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from sizewise import formats
from sizewise.controller.former import Former, Room
from sizewise.controller.forms import FormStore
from sizewise.controller.records import VersionRecord
from sizewise.core.forms import MAPPED, PACKED
from sizewise.core.profiles import ModelProfile
from sizewise.core.units import GIB, MIB
from sizewise.demo.onnx_files import write_random_mlp
from sizewise.profiling.estimate import estimate
from sizewise.profiling.measure import Bench, measure
from sizewise.profiling.timing import CurveBudget
from sizewise.protocols.errors import ModelFileError
from sizewise.runtimes import ModelFiles
from sizewise.runtimes.base import FormFiles
from sizewise.runtimes.forms import key_of, make, verify
from sizewise.runtimes.onnx_model import RUNTIME
from tests.e2e.system import System, seen_soon

SIZES = (512, 2048, 2048, 10)
"""21 MB of weights: enough for a form."""
X = np.random.default_rng(3).standard_normal((2, SIZES[0]), dtype=np.float32)
WITHIN_S = 90.0


@pytest.fixture
def system() -> Iterator[System]:
    with System() as made:
        yield made


@pytest.fixture
def version(tmp_path: Path) -> VersionRecord:
    path = tmp_path / "m.onnx"
    write_random_mlp(path, SIZES, seed=7)
    facts = formats.inspect(path)
    return VersionRecord(hash="a" * 64, version="a" * 12, uri=str(path), facts=facts, path=str(tmp_path))


def profiles(version: VersionRecord) -> dict[str, ModelProfile]:
    return {version.hash: estimate(version.facts)}


ROOM = Room(disk_bytes=GIB, memory_bytes=4 * GIB)


async def made(former: Former) -> None:
    async with asyncio.timeout(120):
        while former.busy:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)


def infer(client: httpx.Client, name: str) -> Any:
    inputs = [{"name": "x", "shape": list(X.shape), "datatype": "FP32", "data": X.reshape(-1).tolist()}]
    answer = client.post(f"/v2/models/{name}/infer", json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    return np.array(answer.json()["outputs"][0]["data"])


def close(found: Any, expected: Any) -> bool:
    return np.allclose(found, expected, rtol=1e-5, atol=1e-6 * max(1.0, np.abs(expected).max()))


def ask_for(client: httpx.Client, name: str, change: str) -> None:
    client.post(f"/v2/repository/models/{name}/{change}").raise_for_status()


def has_form(system: System, name: str) -> bool:
    return any((system.state_dir / "forms").glob(f"*/{name}-*"))


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "after a start"])
async def test_a_form_takes_over_under_load_without_a_failed_request(system: System, *, running: bool) -> None:
    write_random_mlp(system.models / "m.onnx", SIZES, seed=7)
    system.up()
    url = system.status()["data_url"]
    with httpx.Client(base_url=url, timeout=60) as client:
        ask_for(client, "m", "load")  # one replica, from now on
        before = infer(client, "m")
        (first,) = system.pids("replica", "m")
        if not running:
            ask_for(client, "m", "unload")
            await seen_soon(lambda: has_form(system, PACKED), WITHIN_S)
            ask_for(client, "m", "load")
        swapped, failures = threading.Event(), list[str]()

        def ask() -> None:
            with httpx.Client(base_url=url, timeout=60) as own:
                while not swapped.is_set():
                    try:
                        if not close(infer(own, "m"), before):
                            failures.append("another answer")
                    except (AssertionError, httpx.HTTPError) as error:
                        failures.append(repr(error))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        log = system.state_dir / "logs" / "m.log"
        await seen_soon(lambda: f"answers from its {PACKED} session" in log.read_text(), WITHIN_S)
        after = infer(client, "m")
        swapped.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert close(after, before)
    # What it maps now is the form, and charged once
    (replica,) = system.pids("replica", "m")
    assert (replica == first) is running
    effects = [effect for decision in system.explain("m")["decisions"] for effect in decision["effect"]]
    (stage,) = system.status()["models"][0]["stages"]
    assert stage["name"] == PACKED
    assert stage["ready"] == 1
    # It lies there a moment before the controller counts on it: who is started in between takes it up, too
    assert not running or any("take up form" in effect for effect in effects)
    mapped = {each.path for each in psutil.Process(replica).memory_maps() if str(system.state_dir) in each.path}
    assert mapped
    assert all("/forms/" in path for path in mapped)


async def test_forms_give_way_to_models_when_the_disk_budget_is_short(system: System) -> None:
    write_random_mlp(system.models / "a.onnx", SIZES, seed=1)
    system.up(system.spec(f"a: {{uri: {system.models / 'a.onnx'}}}", machine="{disk: 50MiB}"))
    # With its packed copy it would take more than is left
    await seen_soon(lambda: has_form(system, MAPPED), WITHIN_S)
    write_random_mlp(system.folder / "b.onnx", SIZES, seed=2)
    system.ok("deploy", "b", system.folder / "b.onnx")
    assert not has_form(system, MAPPED)
    with httpx.Client(base_url=system.status()["data_url"], timeout=60) as client:
        assert infer(client, "a").shape == infer(client, "b").shape == (20,)


async def test_a_maker_that_dies_leaves_nothing_and_is_not_tried_again(tmp_path: Path, version: VersionRecord) -> None:
    store = FormStore(tmp_path / "forms")
    former = Former(store, state_dir=tmp_path)
    await former.look([("m", version)], profiles(version), ROOM)
    while not (children := psutil.Process().children()):  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.01)
    children[0].kill()
    await made(former)
    assert store.sizes() == {}
    assert list(store.root.iterdir()) == []
    await former.look([("m", version)], profiles(version), ROOM)
    assert not former.busy


async def test_making_is_taken_up_again_after_it_was_interrupted(tmp_path: Path, version: VersionRecord) -> None:
    store = FormStore(tmp_path / "forms")
    former = Former(store, state_dir=tmp_path)
    await former.look([("m", version)], profiles(version), ROOM)
    await asyncio.sleep(0)
    await former.close()
    assert not psutil.Process().children()
    await former.look([("m", version)], profiles(version), ROOM)
    await made(former)
    form = store.find(version.hash)
    assert form is not None
    assert (form.name, form.key) == (PACKED, key_of(PACKED))
    await former.look([("m", version)], profiles(version), ROOM)
    assert not former.busy, "it is there"


async def test_nothing_is_made_beyond_what_is_free(tmp_path: Path, version: VersionRecord) -> None:
    former = Former(FormStore(tmp_path / "forms"), state_dir=tmp_path)
    for room in (Room(disk_bytes=MIB, memory_bytes=4 * GIB), Room(disk_bytes=GIB, memory_bytes=MIB)):
        await former.look([("m", version)], profiles(version), room)
        assert not former.busy


async def test_both_stages_are_measured_and_weighed(tmp_path: Path, version: VersionRecord) -> None:
    store = FormStore(tmp_path / "forms")
    former = Former(store, state_dir=tmp_path)
    await former.look([("m", version)], profiles(version), ROOM)
    await made(former)
    form = store.find(version.hash)
    bench = Bench(cpus=1.0, memory_bytes=2 * GIB, budget=CurveBudget(total_s=1.0, point_s=0.05))
    profile = await asyncio.to_thread(measure, version.facts, tmp_path, bench, form=form)
    assert [stage.name for stage in profile.stages] == [MAPPED, PACKED]
    assert profile.curve in {stage.curve for stage in profile.stages}
    assert form is not None
    assert profile.form == form.key
    assert profile.memory.mapped_bytes > 15 * MIB
    assert profile.memory.resident_bytes < 15 * MIB


def test_the_artifact_and_every_session_on_a_form_agree_at_all_batch_sizes(
    tmp_path: Path, version: VersionRecord
) -> None:
    files = ModelFiles(path=tmp_path, entry=version.facts.entry)
    deployed = RUNTIME.load(files)
    for name in (MAPPED, PACKED):
        target = tmp_path / name
        target.mkdir()
        formed = replace(files, form=FormFiles(name=name, path=target, entry=make(name, files, target)))
        sessions = [
            RUNTIME.load_form(formed, second=second) for second in ((False, True) if name == PACKED else (False,))
        ]
        for rows in (1, 2, 3, 8, 33, 64):
            x = {"x": np.random.default_rng(rows).standard_normal((rows, SIZES[0]), dtype=np.float32)}
            expected = deployed.run(x, ())["y"]
            assert all(close(session.run(x, ())["y"], expected) for session in sessions), (name, rows)


def test_a_form_that_answers_something_else_is_refused(tmp_path: Path, version: VersionRecord) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_random_mlp(other / "m.onnx", SIZES, seed=8)
    files = ModelFiles(path=tmp_path, entry="m.onnx", form=FormFiles(name=MAPPED, path=other, entry="m.onnx"))
    with pytest.raises(ModelFileError, match="answers 'y' of 1 rows differently"):
        verify(MAPPED, files)
