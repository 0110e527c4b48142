"""Clients that send or read a little and never all of it: their time is bounded, and so is the memory they hold."""

import asyncio

import psutil
import pytest

from sizewise.core.units import KIB, MIB
from sizewise.gateway.limits import Limits
from tests.e2e.gateway_rig import FakeReplica, Http, Process, Rig, on_uvloop

POST = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\n"
ROUTE = {"model": "m", "version": "v1", "socket": "r-r1.sock", "max_outstanding": 64}
CLIENTS = 200
BUDGET = "32MiB"
GROWTH_BYTES = 80 * MIB
"""The budget, what the allocator keeps besides, and the connections themselves."""


def resident_bytes(gateway: Process) -> int:
    return int(psutil.Process(gateway.process.pid).memory_info().rss)


async def is_healthy(gateway: Process) -> bool:
    answer = await (await gateway.connect()).get("/v2/health/ready").answer()
    return answer[0] == 200


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(POST + b"X: " + b"a" * (60 * KIB), id="a header without an end"),
        pytest.param(b"GET /" + b"a" * (60 * KIB), id="a target without an end"),
        pytest.param(POST + b"".join(b"X%d: " % i + b"a" * 700 + b"\r\n" for i in range(80)), id="headers without end"),
        pytest.param(POST + b"Content-Length: 999999\r\n\r\n" + bytes(600_000), id="a body without an end"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 5000, id="tiny chunks"),
    ],
)
async def test_what_is_begun_and_not_ended_is_bounded(begun: bytes) -> None:
    async with Process("--max-buffered-bytes", BUDGET) as gateway:
        await gateway.routes()
        assert await is_healthy(gateway)
        before = resident_bytes(gateway)
        clients = [(await gateway.connect()).send(begun) for _ in range(CLIENTS * 4)]
        await asyncio.gather(*(asyncio.wait_for(client.writer.drain(), 20) for client in clients))
        assert await is_healthy(gateway), "others are answered meanwhile"
        assert resident_bytes(gateway) - before < GROWTH_BYTES


async def test_readers_that_take_nothing_are_bounded() -> None:
    async with Process("--max-buffered-bytes", BUDGET) as gateway:
        replica = await FakeReplica(gateway.folder / "r-r1.sock").start()
        await gateway.routes(r1=ROUTE)
        before, peak = resident_bytes(gateway), 0
        for _ in range(CLIENTS):
            client = await gateway.connect()
            # A reader of streams stops taking at twice its limit, 128 KiB
            client.post("/v2/models/m/infer")
            replica.answer(await replica.next(), bytes(2 * MIB))
            assert await is_healthy(gateway)
            peak = max(peak, resident_bytes(gateway))
        assert peak - before < GROWTH_BYTES
        assert await is_healthy(gateway)
        replica.die()


async def drip(client: Http, data: bytes) -> tuple[int, bytes]:
    """Send byte by byte until there is an answer."""
    answer = asyncio.ensure_future(client.answer())
    for at in range(len(data)):
        client.send(data[at : at + 1])
        if (await asyncio.wait((answer,), timeout=0.05))[0]:
            break
    return await answer


@on_uvloop
async def test_a_client_that_drips_is_told_and_left() -> None:
    async with Rig(Limits(head_s=0.5, body_s=0.5)) as rig:
        rig.routes()
        head, body = await rig.connect(), await rig.connect()
        body.send(POST + b"Content-Length: 1000\r\n\r\n")
        answers = await asyncio.gather(drip(head, POST + b"X: " + b"a" * 1000), drip(body, b"a" * 1000))
        assert [status for status, _ in answers] == [408, 408]
        assert await head.ended() == b""
        assert rig.gateway.buffered_bytes == 0
