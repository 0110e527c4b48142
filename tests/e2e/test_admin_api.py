"""The admin API as a client sees it: in one process with the real controller, over a fake backend."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sizewise.controller.layout import admin_token, prepare_state_dir
from sizewise.controller.logs import ANSWER_BYTES
from sizewise.controller.proof import check_proof, write_proof
from sizewise.core.fleet import ScalingPolicy
from sizewise.core.profiles import LoadTime
from sizewise.protocols.control import make_run_dir, run_dir
from sizewise.protocols.fakes import FakeModel
from sizewise.server.admin import build_api
from sizewise.server.guard import MAX_BODY_BYTES, Guard
from tests.scenarios.world import Weight, World

ADDRESS = "http://127.0.0.1:8081"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    prepare_state_dir(tmp_path)
    made = World(tmp_path)
    await made.controller.open()
    yield made
    made.state.close()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    token = admin_token(world.folder)
    api = build_api(world.controller, lambda proof: check_proof(world.folder, proof), world.folder / "logs")
    app = Guard(api, token=token)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS, headers=headers) as made:
        yield made


def model_file(world: World, word: str = "small", weight: Weight | None = None) -> str:
    world.weigher.weights[word] = weight or Weight()
    path = world.folder / f"{word}.fake"
    path.write_text(f"{word} and nothing else")
    return str(path)


async def deploy(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.post("/api/v1/models", json=body)


async def test_deploy_show_change_undeploy(world: World, client: httpx.AsyncClient) -> None:
    uri = model_file(world)
    first = await deploy(client, name="a", uri=uri, slo={"p95_ms": 50}, scaling={"max_replicas": 2, "priority": 10})
    assert (first.status_code, first.json()["state"]) == (201, "cold")
    assert first.json()["slo"] == {"quantile": 0.95, "latency_s": 0.05}
    again = await deploy(client, name="a", uri=uri, timeout_s=5)
    assert (again.status_code, again.json()["slo"]) == (200, {"quantile": 0.95, "latency_s": 0.05}), "kept"
    assert world.controller.registry.get("a").wants.scaling == ScalingPolicy(max_replicas=2, priority=10)
    assert world.controller.registry.get("a").wants.timeout_s == 5
    listed = await client.get("/api/v1/models")
    assert [model["name"] for model in listed.json()["models"]] == ["a"]
    assert (await client.delete("/api/v1/models/a")).status_code == 200
    gone = await client.get("/api/v1/models/a")
    assert (gone.status_code, list(gone.json())) == (404, ["error"])


async def test_status_has_what_it_promises(world: World, client: httpx.AsyncClient) -> None:
    await deploy(client, name="a", uri=model_file(world))
    await world.ticks(2)
    status = (await client.get("/api/v1/status")).json()
    assert {"models", "machine", "processes"} <= status.keys()
    promised = {
        "name", "version", "state", "replicas", "weights_bytes", "memory_bytes", "load_s", "requests_total",
        "errors_total", "shed_total", "slo_attainment", "p95_s", "reason",
    }  # fmt: skip
    assert promised <= status["models"][0].keys()
    assert status["models"][0]["replicas"] == {"desired": 0, "ready": 0, "loading": 0}
    assert status["models"][0]["p95_s"] is None
    assert status["machine"].keys() == {"cpus", "memory_bytes", "memory_used_bytes", "disk_bytes", "disk_used_bytes"}
    assert status["machine"]["disk_used_bytes"] > 0


async def test_explain_shows_inputs_rule_and_effect(world: World, client: httpx.AsyncClient) -> None:
    await deploy(client, name="a", uri=model_file(world))
    await world.tick()
    world.arrive("a", 1, held=1)
    await world.tick()
    found = (await client.get("/api/v1/models/a/decisions", params={"limit": 1})).json()
    (decision,) = found["decisions"]
    assert (decision["desired"], decision["code"]) == (1, "cold_request")
    assert decision["inputs"]["held"] == 1
    assert decision["effect"][0].startswith("start ")
    assert decision["refused"]


async def test_wait_returns_when_the_new_version_serves(world: World, client: httpx.AsyncClient) -> None:
    await world.deploy("a", "one", Weight(), policy=ScalingPolicy(min_replicas=1))
    await world.ticks(3)
    await world.deploy("a", "two", Weight(), policy=ScalingPolicy(min_replicas=1))
    await world.ticks(3)
    uri = str(world.folder / "a.fake")
    settled = await client.post("/api/v1/models", json={"name": "a", "uri": uri}, params={"wait": "true"})
    assert (settled.status_code, settled.json()["rollout"]["state"]) == (200, "switched")


async def settled(world: World, asked: Awaitable[httpx.Response]) -> httpx.Response:
    """The answer, while time passes and the controller looks."""
    answer = asyncio.ensure_future(asked)
    while not answer.done():
        await world.tick(0.1)
        await asyncio.sleep(0)
    return await answer


async def deploy_and_wait(world: World, client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    asked = client.post("/api/v1/models", json=body, params={"wait": "true", "timeout_s": 20})
    return await settled(world, asked)


@pytest.mark.parametrize("low", [0, 1])
async def test_wait_returns_when_a_new_model_has_loaded(world: World, client: httpx.AsyncClient, low: int) -> None:
    scaling = {"min_replicas": low}
    answer = await deploy_and_wait(world, client, name="a", uri=model_file(world), scaling=scaling)
    assert (answer.status_code, answer.json()["state"], answer.json()["pinned"]) == (201, "ready", None)
    assert await world.ready("a") == 1


async def test_a_model_that_was_loaded_to_see_whether_it_can_goes_again(
    world: World, client: httpx.AsyncClient
) -> None:
    await deploy_and_wait(world, client, name="a", uri=model_file(world))
    for _ in range(600):
        await world.tick()
    assert await world.ready("a") == 0


@pytest.mark.parametrize("low", [0, 1])
async def test_wait_says_why_a_new_model_does_not_load(world: World, client: httpx.AsyncClient, low: int) -> None:
    world.backend.models["a"] = FakeModel(fails="no weights today")
    scaling = {"min_replicas": low}
    answer = await deploy_and_wait(world, client, name="a", uri=model_file(world), scaling=scaling)
    assert answer.status_code == 409
    assert "no weights today" in answer.json()["error"]
    assert world.controller.registry.get("a").pinned is None


async def test_wait_ends_with_the_model(world: World, client: httpx.AsyncClient) -> None:
    world.backend.models["a"] = FakeModel(load=LoadTime(load_s=1e9))
    waiting = asyncio.ensure_future(deploy_and_wait(world, client, name="a", uri=model_file(world)))
    registry = world.controller.registry
    await registry.wait_for(lambda: (found := registry.find("a")) and found.pinned, 10)
    assert (await client.delete("/api/v1/models/a")).status_code == 200
    assert "undeployed" in (await waiting).json()["error"]


async def test_a_spec_is_applied_and_the_difference_told(world: World, client: httpx.AsyncClient) -> None:
    await deploy(client, name="by-hand", uri=model_file(world))
    spec = {"models": [{"name": "a", "uri": model_file(world, "other")}, {"name": "b", "uri": "/nowhere/b.onnx"}]}
    first = (await client.post("/api/v1/spec", json={"spec": spec})).json()
    assert (first["added"], first["kept"], list(first["failed"])) == (["a"], ["by-hand"], ["b"])
    same = (await client.post("/api/v1/spec", json={"spec": {"models": spec["models"][:1]}})).json()
    assert same["unchanged"] == ["a"]
    less = (await client.post("/api/v1/spec", json={"spec": {"models": []}, "prune": True})).json()
    assert sorted(less["removed"]) == ["a", "by-hand"]


async def test_metrics_are_prometheus(world: World, client: httpx.AsyncClient) -> None:
    await deploy(client, name="a", uri=model_file(world))
    await world.tick()
    world.arrive("a", 10)
    await world.tick()
    text = (await client.get("/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    requests = {sample.labels["code"]: sample.value for sample in families["sizewise_requests"].samples}
    assert requests == {"2xx": 10, "4xx": 0, "5xx": 0, "shed": 0, "cancelled": 0}
    assert families["sizewise_desired_replicas"].samples[0].labels == {"model": "a"}
    buckets = [s.value for s in families["sizewise_request_duration_seconds"].samples if s.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 10
    (total,) = [s.value for s in families["sizewise_request_duration_seconds"].samples if s.name.endswith("_sum")]
    assert total == pytest.approx(0.1)
    triton = {name: family.samples[0].value for name, family in families.items() if name.startswith("nv_")}
    assert triton == {
        "nv_inference_request_success": 10,
        "nv_inference_request_failure": 0,
        "nv_inference_count": 10,
        "nv_inference_exec_count": 10,
        "nv_inference_request_duration_us": pytest.approx(100_000),
        "nv_inference_compute_infer_duration_us": pytest.approx(50_000),
        "nv_inference_queue_duration_us": pytest.approx(50_000),
    }
    for name in (
        "sizewise_ready_replicas", "sizewise_model_load_seconds", "sizewise_model_memory_bytes", "sizewise_cold_starts",
        "sizewise_shed", "sizewise_queued_requests",
    ):  # fmt: skip
        assert families[name].samples


async def test_logs_are_read_and_the_answer_is_bounded(world: World, client: httpx.AsyncClient) -> None:
    folder = world.folder / "logs"
    (folder / "a.log").write_text("one\ntwo\nthree\n")
    (folder / "b.log").write_text("begun\n")
    found = (await client.get("/api/v1/logs", params={"last": 2})).json()
    expected = [("a", "two"), ("a", "three"), ("b", "begun")]
    assert found == {"lines": [{"source": s, "text": text} for s, text in expected], "left_out": []}
    one = (await client.get("/api/v1/logs", params={"name": "b"})).json()
    assert [line["text"] for line in one["lines"]] == ["begun"]
    for name, status in (("none", 404), ("../admin-token", 404), ("", 404)):
        assert (await client.get("/api/v1/logs", params={"name": name})).status_code == status
    assert (await client.get("/api/v1/logs", params={"last": 1001})).status_code == 400
    assert (await client.get("/api/v1/logs", headers={"Authorization": ""})).status_code == 401
    for number in range(30):
        (folder / f"m{number:02}.log").write_text(("x" * 1023 + "\n") * 300)
    large = await client.get("/api/v1/logs", params={"last": 1000})
    assert len(large.content) < 2 * ANSWER_BYTES
    assert large.json()["left_out"][-1] == "m29"
    assert large.json()["lines"][-1]["source"] < large.json()["left_out"][0]


async def test_the_document_and_the_shutdown(world: World, client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert {"/api/v1/models", "/api/v1/models/{name}", "/api/v1/status", "/api/v1/logs", "/metrics"} <= document[
        "paths"
    ].keys()
    for path in ("/docs", "/redoc"):
        assert (await client.get(path)).status_code == 404
    assert (await client.post("/api/v1/shutdown", json={"drain_s": 3})).status_code == 202
    assert world.controller.stopping.is_set()
    assert world.controller.drain_s == 3
    models = document["paths"]["/api/v1/models"]["post"]["responses"]
    assert {"200", "201", "4XX", "5XX"} <= models.keys()
    assert "security" in document["paths"]["/api/v1/status"]["get"]
    assert "security" not in document["paths"]["/healthz"]["get"]
    assert "text/plain" in document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param({}, 200, id="the CLI"),
        pytest.param({"Authorization": ""}, 401, id="no token"),
        pytest.param({"Authorization": "Bearer x"}, 401, id="wrong token"),
        pytest.param({"Authorization": "Basic TOKEN"}, 401, id="wrong scheme"),
        pytest.param({"Authorization": "Bearer \u00e9"}, 401, id="a token that is not ASCII"),
        pytest.param({"Host": "evil.example:8081"}, 403, id="rebinding Host"),
        pytest.param({"Host": "127.0.0.1.evil.example"}, 403, id="Host that begins like loopback"),
        pytest.param({"Host": "evil.example@127.0.0.1"}, 200, id="user part is no host"),
        pytest.param({"Host": ""}, 403, id="empty Host"),
        pytest.param({"Host": "["}, 403, id="malformed Host"),
        pytest.param({"Host": "localhost:1"}, 200, id="localhost"),
        pytest.param({"Host": "[::1]:8081"}, 200, id="loopback of IPv6"),
        pytest.param({"Origin": "https://evil.example"}, 403, id="foreign Origin"),
        pytest.param({"Origin": "null"}, 403, id="Origin of a sandbox"),
        pytest.param({"Origin": "http://127.0.0.1:3000"}, 403, id="another port of this machine"),
        pytest.param({"Origin": ADDRESS}, 200, id="our own page"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, 403, id="cross-site fetch"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, 403, id="same-site fetch: another port"),
        pytest.param({"Sec-Fetch-Site": "same-origin"}, 200, id="same-origin fetch"),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/status", "/openapi.json", "/metrics", "/healthz"])
async def test_who_may_read(client: httpx.AsyncClient, change: dict[str, str], status: int, path: str) -> None:
    token = client.headers["Authorization"].removeprefix("Bearer ")
    headers = {key.encode(): value.replace("TOKEN", token).encode() for key, value in change.items()}
    answer = await client.get(path, headers=headers)
    expected = 200 if path == "/healthz" and status == 401 else status
    assert answer.status_code == expected
    assert "access-control-allow-origin" not in answer.headers
    if expected != 200:
        assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://evil.example"}, id="foreign Origin"),
        pytest.param({"Host": "evil.example"}, id="rebinding Host"),
        pytest.param({"Authorization": "Bearer guess"}, id="wrong token"),
    ],
)
async def test_nobody_else_deploys(world: World, client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    body = {"name": "a", "uri": model_file(world)}
    answer = await client.post("/api/v1/models", json=body, headers=headers)
    assert answer.status_code in {401, 403}
    assert not len(world.controller.registry)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        pytest.param(b"{", 400, "JSON", id="not JSON"),
        pytest.param(b"[]", 400, "body", id="not an object"),
        pytest.param(b'{"name": "a"}', 400, "neither uri nor command", id="nothing to deploy"),
        pytest.param(b'{"name": "a", "uri": "m.onnx"}', 400, "absolute", id="relative path"),
        pytest.param(
            b'{"name": "a", "uri": "/nowhere/m.onnx"}',
            400,
            "/nowhere/m.onnx does not exist: give the path",
            id="absent file",
        ),
        pytest.param(b'{"name": "a", "uri": "/m", "max_queue": 99999999999999999999}', 400, "64-bit", id="huge number"),
        pytest.param(b'{"name": "a", "uri": "/m", "slo": {"p95_ms": 1e300}}', 400, "64-bit", id="huge goal"),
        pytest.param(b'{"name": "a", "uri": "/\\ud800"}', 400, "surrogates", id="half a character"),
        pytest.param(b'{"name": "A b", "uri": "/nowhere/m.onnx"}', 400, "no model name", id="name"),
        pytest.param(b'{"name": "a", "uri": "/dev/null", "slo": {"p42_ms": 1}}', 400, "p42_ms", id="unknown quantile"),
        pytest.param(b'{"name": "a", "uri": "/dev/null", "colour": 1}', 400, "colour", id="unknown key"),
        pytest.param(b"x" * (MAX_BODY_BYTES + 1), 413, "limit", id="too large"),
    ],
)
async def test_bad_bodies_get_one_line(
    world: World, client: httpx.AsyncClient, body: bytes, status: int, says: str
) -> None:
    answer = await client.post("/api/v1/models", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    assert says in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("kind", [{}, {"Content-Type": "application/x-www-form-urlencoded"}])
@pytest.mark.parametrize("body", [b'{"name": "a", "uri": "/m.onnx"}', b""])
async def test_a_body_that_is_not_called_json_is_told_how(
    client: httpx.AsyncClient, kind: dict[str, str], body: bytes
) -> None:
    answer = await client.post("/api/v1/models", content=body, headers=kind)
    assert answer.status_code == 400
    assert answer.json()["error"].endswith("send a JSON object with the header Content-Type: application/json")


async def test_a_body_without_a_length_is_bounded_too(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    assert (await client.post("/api/v1/models", content=endless())).status_code == 413


CODE = Weight(runtime="python")


async def test_code_is_not_deployed_over_http_alone(world: World, client: httpx.AsyncClient) -> None:
    uri = model_file(world, "code", CODE)
    plain = await deploy(client, name="a", uri=uri)
    asked = await deploy(client, name="a", uri=uri, allow_code=True)
    guessed = await deploy(client, name="a", uri=uri, allow_code=True, proof="0" * 16 + "." + "0" * 64)
    command = await deploy(client, name="a", command=["sh", "-c", "id"], allow_code=True)
    spec = {"models": [{"name": "a", "uri": uri}]}
    applied = await client.post("/api/v1/spec", json={"spec": spec})
    assert [plain.status_code, asked.status_code, guessed.status_code, command.status_code] == [403] * 4
    assert "--allow-code" in applied.json()["failed"]["a"]
    assert not len(world.controller.registry)


async def test_code_is_deployed_with_a_proof_that_serves_once(world: World, client: httpx.AsyncClient) -> None:
    uri = model_file(world, "code", CODE)
    proof = write_proof(world.folder)
    first = await deploy(client, name="a", uri=uri, allow_code=True, proof=proof)
    second = await deploy(client, name="b", uri=uri, allow_code=True, proof=proof)
    assert [first.status_code, second.status_code] == [201, 403]
    spec = {"models": [{"name": "c", "command": {"argv": ["sh", "-c", "sleep 1"]}}]}
    applied = await client.post("/api/v1/spec", json={"spec": spec, "proof": write_proof(world.folder)})
    assert applied.json()["added"] == ["c"]


async def test_a_proof_that_others_could_have_written_is_none(world: World, client: httpx.AsyncClient) -> None:
    proof = write_proof(world.folder)
    (run_dir(world.folder) / f"proof-{proof.split('.')[0]}").chmod(0o644)
    readable = await deploy(client, name="a", uri=model_file(world, "code", CODE), allow_code=True, proof=proof)
    linked = make_run_dir(world.folder) / ("proof-" + "1" * 16)
    secret = world.folder / "secret"
    secret.write_text("2" * 64)
    secret.chmod(0o600)
    linked.symlink_to(secret)
    by_link = await deploy(
        client, name="a", uri=model_file(world, "code", CODE), allow_code=True, proof="1" * 16 + "." + "2" * 64
    )
    assert [readable.status_code, by_link.status_code] == [403, 403]
