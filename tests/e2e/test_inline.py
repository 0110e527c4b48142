"""A model inside the gateway: answers like any other, and does not end the gateway twice."""

from dataclasses import replace
from typing import Any

import httpx

from sizewise.protocols.backend import StartReplica
from tests.e2e.plane import Plane, by_id, is_ready, publish
from tests.e2e.steady_load import EXPECTED, ROW, Load

REQUEST: dict[str, Any] = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}]}


async def serve_inline(plane: Plane, model: str, replica_id: str) -> None:
    spec = replace(plane.onnx(model, replica_id), inline=True)
    await plane.backend.apply([publish(model), StartReplica(spec=spec)])
    await plane.ready(replica_id)


async def ask(plane: Plane, body: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.post(f"{plane.url}/v2/models/m/infer", json=body)


async def test_answers_refusals_and_batches_come_from_the_gateway_itself() -> None:
    async with Plane() as plane:
        await serve_inline(plane, "m", "m-1")
        seen = await plane.backend.observe()
        assert by_id(seen)["m-1"].pid is None
        assert {each.role for each in seen.processes} >= {"gateway"}
        assert "replica" not in {each.role for each in seen.processes}
        good = await ask(plane, REQUEST)
        assert good.json()["outputs"][0]["data"] == EXPECTED
        binary = await ask(plane, {**REQUEST, "parameters": {"binary_data_output": True}})
        assert binary.headers["inference-header-content-length"]
        bad = await ask(plane, {"inputs": [{**REQUEST["inputs"][0], "data": [1]}]})
        assert bad.status_code == 400
        assert "1 elements" in bad.json()["error"]
        async with Load(plane.info.port, "m") as load:
            await load.more(100)
        assert load.errors == []
        (traffic,) = (await plane.backend.observe()).traffic
        assert traffic.answered >= 400
        assert traffic.rows >= traffic.answered
        await plane.stop("m-1")


async def test_a_gateway_that_died_with_it_runs_it_no_more() -> None:
    async with Plane() as plane:
        await serve_inline(plane, "m", "m-1")
        await plane.kill(await plane.pid_of("gateway"))
        seen = await plane.until(lambda seen: is_ready(seen, "m-1") and by_id(seen)["m-1"].pid is not None)
        assert "the gateway ended with it inside (signal 9)" in (by_id(seen)["m-1"].last_exit or "")
        assert (await ask(plane, REQUEST)).json()["outputs"][0]["data"] == EXPECTED
        # The next death of the gateway is not its business any more
        before = by_id(seen)["m-1"].pid
        await plane.kill(await plane.pid_of("gateway"))
        assert (await ask(plane, REQUEST)).json()["outputs"][0]["data"] == EXPECTED
        assert by_id(await plane.backend.observe())["m-1"].pid == before


async def test_a_new_keeper_finds_it_where_it_is() -> None:
    async with Plane() as plane:
        await serve_inline(plane, "m", "m-1")
        gateway = await plane.pid_of("gateway")
        await plane.kill(await plane.pid_of("keeper"))
        assert (await ask(plane, REQUEST)).status_code == 200
        await plane.backend.connect()
        seen = await plane.until(lambda seen: is_ready(seen, "m-1"))
        assert by_id(seen)["m-1"].pid is None
        assert await plane.pid_of("gateway") == gateway
        assert (await ask(plane, REQUEST)).status_code == 200


async def test_a_model_that_cannot_be_loaded_says_why_and_leaves_the_gateway_alone() -> None:
    async with Plane() as plane:
        spec = replace(plane.onnx("m", "m-1"), inline=True, entry="missing.onnx")
        await plane.backend.apply([publish("m"), StartReplica(spec=spec)])
        seen = await plane.until(lambda seen: "m-1" in by_id(seen) and by_id(seen)["m-1"].last_exit)
        assert "missing.onnx" in (by_id(seen)["m-1"].last_exit or "")
        assert (await ask(plane, {"inputs": []})).status_code == 400
