"""``kill -9`` of every kind of process under steady load: who notices, and for how long."""

import asyncio
import contextlib
import time

import pytest

from sizewise.backends.local.processes import Process
from tests.e2e.plane import Plane
from tests.e2e.steady_load import Load, infer

AFTER = 60
"""Further answers of each client that must come without an error."""
TRIES = 3
"""Of what must be quick, and may meet a busy machine once or twice."""


async def test_a_replica() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1", "m-2")
        async with Load(plane.info.port, "m") as load:
            await plane.kill(before["m-1"].pid or 0)
            await plane.reborn("m-1", before["m-1"].pid)
            await load.more(AFTER)
        assert load.errors == []


async def test_the_only_replica() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1")
        async with Load(plane.info.port, "m") as load:
            await plane.kill(before["m-1"].pid or 0)
            await plane.reborn("m-1", before["m-1"].pid)
            await load.more(AFTER)
        assert load.errors == [], "requests are held as for a cold model"


async def test_the_warm_parent_then_a_replica() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1", "m-2")
        async with Load(plane.info.port, "m") as load:
            await plane.kill(await plane.pid_of("warm"))
            await load.more(AFTER)
            await plane.kill(before["m-1"].pid or 0)
            await plane.reborn("m-1", before["m-1"].pid)
            await load.more(AFTER)
        assert load.errors == []


async def test_all_replicas_at_once() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1", "m-2", "m-3")
        async with Load(plane.info.port, "m") as load:
            dying = [Process(each.pid or 0) for each in before.values()]
            for process in dying:
                process.kill()
            await asyncio.gather(*(process.exited.wait() for process in dying))
            for replica_id, replica in before.items():
                await plane.reborn(replica_id, replica.pid)
            await load.more(AFTER)
        assert load.errors == []


async def test_a_replica_while_no_controller_lives() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1")
        async with Load(plane.info.port, "m") as load:
            await plane.forget_backend()
            await plane.kill(before["m-1"].pid or 0)
            await load.more(AFTER)
        assert load.errors == []


async def test_the_keeper_while_a_controller_lives() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1", "m-2")
        keeper = plane.info.pid
        async with Load(plane.info.port, "m") as load:
            await plane.kill(keeper)
            await plane.until(lambda seen: not seen.problems and plane.info.pid != keeper)
            await load.more(AFTER)
            after = await plane.ready("m-1", "m-2")
            assert {key: each.pid for key, each in after.items()} == {key: each.pid for key, each in before.items()}
            await plane.kill(after["m-1"].pid or 0)
            await plane.reborn("m-1", after["m-1"].pid)
            await load.more(AFTER)
        assert load.errors == []


async def test_the_keeper_then_a_new_controller() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1")
        async with Load(plane.info.port, "m") as load:
            await plane.forget_backend()
            await plane.kill(plane.info.pid)
            await load.more(AFTER)
            await plane.new_backend()
            await load.more(AFTER)
            assert (await plane.ready("m-1"))["m-1"].pid == before["m-1"].pid
        assert load.errors == []


async def test_the_gateway() -> None:
    async with Plane() as plane:
        before = await plane.serve("m", "m-1")
        # The best of a few: the first that is quick enough shows that nothing in it has to wait
        for _ in range(TRIES):
            back_s = await _back_after_its_death(plane)
            assert (await plane.ready("m-1"))["m-1"].pid == before["m-1"].pid
            if back_s < 1.0:
                return
    pytest.fail(f"the gateway was back within a second in none of {TRIES} tries")


async def _back_after_its_death(plane: Plane) -> float:
    """Seconds from the end of the gateway to the next one's first answer."""
    gateway = await plane.pid_of("gateway")
    await plane.kill(gateway)
    killed_s = time.monotonic()
    # The listening socket lives in the keeper: this connection waits in its backlog and is not refused
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.info.port)
    with contextlib.closing(writer):
        status, _ = await infer(reader, writer, "m")
    back_s = time.monotonic() - killed_s
    assert status == 200
    assert await plane.pid_of("gateway") != gateway
    return back_s


async def test_stopping_one_of_two_under_load() -> None:
    async with Plane() as plane:
        await plane.serve("m", "m-1", "m-2")
        async with Load(plane.info.port, "m") as load:
            await plane.stop("m-1")
            await load.more(AFTER)
        assert load.errors == []
