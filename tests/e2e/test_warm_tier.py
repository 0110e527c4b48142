"""Files held in memory by real processes: seen in their mappings, through a keeper's death, and gone when released."""

import asyncio
from pathlib import Path

import psutil
import pytest

from sizewise.backends.local.disk import Disk
from sizewise.core.units import KIB, MIB
from sizewise.protocols.backend import HoldWarm, ReleaseWarm, StopReplica, WarmObserved
from sizewise.system.pagecache import evict, in_memory
from tests.e2e.plane import Plane, by_id

SIZE = 48 * MIB


def artifact(plane: Plane, name: str, size: int = SIZE) -> HoldWarm:
    folder = plane.state_dir / "store" / name
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(256)) * (size // 256))
    (folder / "small.json").write_text("{}")
    return HoldWarm(model=name, version="1", path=str(folder), files=("small.json", "weights.bin"))


def resident_bytes(pid: int, path: Path) -> int:
    """Of this file, in the mappings of this process, as the kernel counts them."""
    return sum(area.rss for area in psutil.Process(pid).memory_maps(grouped=False) if area.path == str(path))


def bytes_of(held: tuple[WarmObserved, ...], model: str) -> int:
    return next((each.bytes for each in held if each.model == model), 0)


async def test_held_files_are_mapped_and_in_memory_and_outlive_the_keeper() -> None:
    async with Plane() as plane:
        order = artifact(plane, "m")
        weights = Path(order.path) / "weights.bin"
        evict([weights])
        await plane.backend.apply([order])
        await plane.until(lambda seen: bytes_of(seen.warm, "m") == SIZE + 2)
        pid = await plane.pid_of("holder")
        assert resident_bytes(pid, weights) == SIZE
        assert evict([weights]) == 1.0, "mapped pages cannot be dropped"
        keeper = plane.info.pid
        await plane.forget_backend()
        await plane.kill(keeper)
        assert resident_bytes(pid, weights) == SIZE
        await plane.new_backend()
        seen = await plane.until(lambda seen: bytes_of(seen.warm, "m") == SIZE + 2)
        assert await plane.pid_of("holder") == pid, "adopted"
        assert {each.role for each in seen.processes} >= {"holder", "keeper", "gateway"}
        await plane.backend.apply([ReleaseWarm(model="m")])
        await plane.until(lambda seen: not seen.warm)
        await plane.until(lambda _: resident_bytes(pid, weights) == 0)
        evict([weights])
        assert in_memory([weights]) < 1.0


async def test_a_holder_that_dies_is_started_again_and_holds_the_same() -> None:
    async with Plane() as plane:
        order = artifact(plane, "m")
        await plane.backend.apply([order])
        await plane.until(lambda seen: bytes_of(seen.warm, "m") == SIZE + 2)
        pid = await plane.pid_of("holder")
        await plane.kill(pid)
        seen = await plane.until(
            lambda seen: (
                bytes_of(seen.warm, "m") == SIZE + 2
                and any(each.role == "holder" and each.pid != pid for each in seen.processes)
            )
        )
        new = next(each.pid for each in seen.processes if each.role == "holder")
        assert resident_bytes(new, Path(order.path) / "weights.bin") == SIZE


async def test_a_file_that_shrinks_or_is_missing_ends_nothing() -> None:
    async with Plane() as plane:
        shrinks, sound = artifact(plane, "shrinks"), artifact(plane, "sound")
        missing = HoldWarm(model="missing", version="1", path=str(plane.state_dir / "none"), files=("a", "b"))
        await plane.backend.apply([shrinks])
        await plane.until(lambda seen: bytes_of(seen.warm, "shrinks") == SIZE + 2)
        pid = await plane.pid_of("holder")
        with (Path(shrinks.path) / "weights.bin").open("r+b") as file:
            file.truncate(4 * KIB)
        await plane.backend.apply([missing, sound])
        seen = await plane.until(lambda seen: bytes_of(seen.warm, "sound") == SIZE + 2)
        assert bytes_of(seen.warm, "missing") == 0
        await plane.until(lambda seen: bytes_of(seen.warm, "shrinks") == 0)
        assert await plane.pid_of("holder") == pid


async def read_second(disk: Disk, folder: Path, order: list[str]) -> None:
    async with disk.turn(str(folder)):
        order.append("second")


async def test_loads_from_disk_take_turns(tmp_path: Path) -> None:
    """Two loads from a cold disk take turns; one whose files are in memory waits for nobody."""
    cold, warm = tmp_path / "cold", tmp_path / "warm"
    for folder in (cold, warm):
        folder.mkdir()
        (folder / "weights.bin").write_bytes(b"x" * SIZE)
    if evict([cold / "weights.bin"]) == 1.0:
        pytest.skip("a file system in memory: there is no disk to wait for")
    disk, order = Disk(), list[str]()
    async with disk.turn(str(cold)):
        order.append("first")
        async with disk.turn(str(warm)):
            order.append("warm beside it")
        second = asyncio.ensure_future(read_second(disk, cold, order))
        await asyncio.wait((second,), timeout=0.2)
        assert order == ["first", "warm beside it"]
        order.append("first ends")
    await second
    assert order[-2:] == ["first ends", "second"]


async def test_a_replica_that_starts_from_held_files_reads_nothing_from_disk() -> None:
    async with Plane() as plane:
        spec = plane.onnx("m", "m-1")
        padding = Path(spec.path) / "padding.bin"
        padding.write_bytes(b"x" * SIZE)
        if evict([padding]) == 1.0:
            pytest.skip("a file system in memory: nothing is read from disk")
        await plane.serve("m", "m-1")
        read = by_id(await plane.backend.observe())["m-1"].load
        assert read is not None
        assert read.disk_bytes > SIZE / 2, "the whole artifact is fetched ahead"
        await plane.stop("m-1")
        evict([padding])
        await plane.backend.apply([HoldWarm(model="m", version="1", path=spec.path, files=(spec.entry, "padding.bin"))])
        await plane.until(lambda seen: bytes_of(seen.warm, "m") > SIZE)
        await plane.serve("m", "m-2")
        load = by_id(await plane.backend.observe())["m-2"].load
        assert load is not None
        assert load.disk_bytes < SIZE / 10
        await plane.backend.apply([StopReplica(replica_id="m-2", drain_s=1.0), ReleaseWarm(model="m")])
