"""The full profile in a process of its own: it succeeds, or it is ended, and leaves nothing behind."""

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from sizewise import formats
from sizewise.controller.layout import prepare_state_dir
from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.controller.spec import ModelSpec
from sizewise.controller.store import LocalStore
from sizewise.controller.weigher import FileWeigher
from sizewise.core.profiles import Source
from sizewise.core.units import GIB, MIB
from sizewise.demo.onnx_files import write_random_mlp
from sizewise.profiling.measure import Bench
from sizewise.protocols.errors import SizewiseError

BENCH = Bench(cpus=1.0, memory_bytes=4 * GIB)


@pytest.fixture
def record(tmp_path: Path) -> ModelRecord:
    prepare_state_dir(tmp_path)
    path = tmp_path / "m.onnx"
    write_random_mlp(path, [64, 32, 10], seed=7)
    facts = formats.inspect(path)
    artifact = LocalStore(tmp_path / "store").put(tmp_path, facts.files, model="m")
    version = VersionRecord(
        hash=artifact.hash, version=artifact.version, uri=str(path), facts=facts, path=str(artifact.path)
    )
    return ModelRecord(wants=ModelSpec(name="m", uri=str(path)), origin="deploy", serving=version)


async def test_a_measured_profile_is_kept_and_found_again(tmp_path: Path, record: ModelRecord) -> None:
    weigher = FileWeigher(tmp_path, BENCH)
    profile = await weigher.measure(record, 2 * GIB)
    assert profile.source is Source.MEASURED
    again = FileWeigher(tmp_path, Bench(cpus=2.0, memory_bytes=GIB))
    assert again.profile(record.serving) == profile


async def test_a_failure_is_one_line_and_nothing_stays(tmp_path: Path, record: ModelRecord) -> None:
    me = psutil.Process(os.getpid())
    before = set(me.children(recursive=True))
    with pytest.raises(SizewiseError) as caught:
        await FileWeigher(tmp_path, BENCH).measure(record, MIB)
    assert "\n" not in str(caught.value)
    _, left = await asyncio.to_thread(psutil.wait_procs, set(me.children(recursive=True)) - before, 30.0)
    assert not left


async def test_traffic_ends_it_at_once(tmp_path: Path, record: ModelRecord) -> None:
    me = psutil.Process(os.getpid())
    measuring = asyncio.ensure_future(FileWeigher(tmp_path, BENCH).measure(record, 2 * GIB))
    # Until its own child works: three generations must go together
    while len(children := me.children(recursive=True)) < 2 and not measuring.done():  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.01)
    measuring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    gone, alive = await asyncio.to_thread(psutil.wait_procs, children, 30.0)
    assert len(gone) >= 2
    assert not alive
