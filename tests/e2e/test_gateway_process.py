"""The gateway as the process that the keeper starts."""

import asyncio
import hashlib
import signal
from pathlib import Path

import psutil
import pytest
import tritonclient.http as triton

from sizewise.backends.local.listener import address_of, take_over
from sizewise.core.units import MIB
from sizewise.protocols.errors import UnavailableError
from tests.e2e.gateway_rig import INPUTS, FakeReplica, Process, gathered, one_turn

INFER = "/v2/models/m/infer"
ROUTE = {"model": "m", "version": "v1", "socket": "r-r1.sock", "max_outstanding": 64}


async def replica_of(gateway: Process) -> FakeReplica:
    fake = await FakeReplica(gateway.folder / "r-r1.sock").start()
    await gateway.routes(r1=ROUTE)
    return fake


async def test_connections_wait_for_the_first_routes() -> None:
    async with Process() as gateway:
        client = (await gateway.connect()).get("/v2/health/ready")
        traffic = await gateway.control.call("traffic")
        assert traffic["connections"] == 0
        await gateway.routes()
        assert await client.answer() == (200, b'{"ready":true}')


async def test_its_title_names_the_state_folder() -> None:
    async with Process() as gateway:
        title = " ".join(psutil.Process(gateway.process.pid).cmdline())
        assert title.strip() == f"sizewise gateway --state-dir {gateway.folder}"


async def test_traffic() -> None:
    async with Process() as gateway:
        replica = await replica_of(gateway)
        client = (await gateway.connect()).post(INFER)
        replica.answer(await replica.next(), batch=2, deadline_ns=500_000)
        assert (await client.answer())[0] == 200
        first, second = [await gateway.control.call("traffic") for _ in range(2)]
        (model,) = first["models"]
        assert (model["model"], model["arrivals"], model["answered"], model["rows"]) == ("m", 1, 1, 2)
        assert model["batch_samples"] == [[2, 0.0005]]
        assert second["models"][0]["batch_samples"] == []
        assert first["epoch"] == second["epoch"]
        assert first["connections"] == 1
        assert first["replicas"]["r1"]["outstanding"] == 0
        assert first["replicas"]["r1"]["busy_s"] > 0
        replica.die()


async def test_events_reach_subscribers() -> None:
    async with Process() as gateway:
        await gateway.routes()
        events = gateway.control.events()
        waiting = asyncio.ensure_future(anext(events))
        await gateway.control.call("traffic")  # answered after the subscription
        client = (await gateway.connect()).post(INFER)
        assert await asyncio.wait_for(waiting, 5) == {"event": "cold", "model": "m"}
        client.leave()


async def test_a_new_keeper_takes_the_listening_socket() -> None:
    async with Process() as gateway:
        await gateway.routes()
        taken = await asyncio.to_thread(take_over, gateway.folder / "gateway.sock")
        assert taken is not None
        assert address_of(taken) == ("127.0.0.1", gateway.port)
        gateway.process.kill()
        await gateway.process.wait()
        # The socket and its backlog outlive the gateway
        await gateway.connect()
        taken.close()


async def test_sigterm_answers_what_is_in_flight() -> None:
    async with Process("--drain-s", "20") as gateway:
        replica = await replica_of(gateway)
        client = (await gateway.connect()).post(INFER)
        frame = await replica.next()
        gateway.process.send_signal(signal.SIGTERM)
        late = await gateway.connect()
        replica.answer(frame, b"last")
        assert await client.answer() == (200, b"last")
        assert await asyncio.wait_for(gateway.process.wait(), 10) == 0
        late.leave()
        replica.die()


async def test_sigterm_is_bounded() -> None:
    async with Process("--drain-s", "0.1") as gateway:
        replica = await replica_of(gateway)
        client = (await gateway.connect()).post(INFER)
        await replica.next()
        gateway.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(gateway.process.wait(), 10) == 0
        assert await client.ended() == b""
        replica.die()


async def test_drain_waits_for_answers_and_refuses_new_requests() -> None:
    async with Process() as gateway:
        replica = await replica_of(gateway)
        client, other = (await gateway.connect()).post(INFER), await gateway.connect()
        frame = await replica.next()
        draining = asyncio.ensure_future(gateway.control.call("drain", timeout_s_=10.0))
        await one_turn()
        await gateway.control.call("traffic")  # asked, and so answered, after the drain has begun
        other.post(INFER)
        assert (await other.answer())[0] == 503
        replica.answer(frame)
        assert (await client.answer())[0] == 200
        assert (await draining)["in_flight"] == 0
        replica.die()


async def test_drain_of_one_replica() -> None:
    async with Process() as gateway:
        replica = await replica_of(gateway)
        client = (await gateway.connect()).post(INFER)
        frame = await replica.next()
        left = await gateway.control.call("drain_replica", replica_id="r1", timeout_s_=0.05)
        assert left["outstanding"] == 1
        draining = asyncio.ensure_future(gateway.control.call("drain_replica", replica_id="r1", timeout_s_=10.0))
        replica.answer(frame)
        assert (await draining)["outstanding"] == 0
        assert (await client.answer())[0] == 200
        assert (await gateway.control.call("drain_replica", replica_id="none"))["outstanding"] == 0
        replica.die()


async def test_an_unknown_operation_is_refused() -> None:
    async with Process() as gateway:
        with pytest.raises(UnavailableError, match="unknown operation 'dance'"):
            await gateway.control.call("dance")


async def test_keys_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(hashlib.sha256(b"secret").hexdigest() + "\n")
    async with Process("--api-keys", str(tmp_path / "keys")) as gateway:
        await gateway.routes()
        client = await gateway.connect()
        client.get("/v2/models").get("/v2/models", "X-API-Key: secret\r\n").get("/v2/health/live")
        assert await gathered([client] * 3) == [401, 200, 200]


async def test_memory_stays_bounded() -> None:
    """Bodies that stop before their end, on many connections, each within its own limit."""
    async with Process("--max-buffered-bytes", "32MiB", "--max-body-bytes", "8MiB") as gateway:
        await gateway.routes()
        before = psutil.Process(gateway.process.pid).memory_info().rss
        begun = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n" + bytes(
            4 * MIB
        )
        clients = [(await gateway.connect()).send(begun) for _ in range(40)]
        answers = [asyncio.ensure_future(client.answer()) for client in clients]
        # No more than eight of them fit; which ones is chance
        while len(done := [answer for answer in answers if answer.done()]) < 32:
            await asyncio.wait([answer for answer in answers if not answer.done()], return_when="FIRST_COMPLETED")
        assert {answer.result()[0] for answer in done} == {503}
        assert psutil.Process(gateway.process.pid).memory_info().rss - before < 80 * MIB
        for answer in answers:
            answer.cancel()
        for client in clients:
            client.leave()
        again = (await gateway.connect()).get("/v2/health/ready")
        assert (await again.answer())[0] == 200


async def test_a_thousand_idle_connections() -> None:
    async with Process() as gateway:
        await gateway.routes()
        process = psutil.Process(gateway.process.pid)
        before = process.memory_info().rss
        clients = [(await gateway.connect()).get("/v2/health/live") for _ in range(1000)]
        assert await gathered(clients) == [200] * 1000
        assert process.memory_info().rss - before < 16 * MIB
        for client in clients:
            client.leave()


async def test_the_tritonclient_finds_its_way() -> None:
    async with Process() as gateway:
        replica = await replica_of(gateway)
        replica.echo = True

        def ask() -> None:
            with triton.InferenceServerClient(f"127.0.0.1:{gateway.port}") as client:
                assert client.is_server_live()
                assert client.is_server_ready()
                assert client.is_model_ready("m")
                assert client.is_model_ready("m", "v1")
                assert not client.is_model_ready("none")
                assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
                assert client.get_model_metadata("m")["versions"] == ["v1"]
                assert client.get_model_repository_index()[0]["state"] == "READY"
                assert client.get_inference_statistics("m")["model_stats"][0]["name"] == "m"
                client.load_model("m")

        await asyncio.to_thread(ask)
        client = (await gateway.connect()).post(INFER)
        assert await client.answer() == (200, INPUTS)
        replica.die()
