"""Who may read, ask and deploy: a web page in a browser on this machine, a program without the token, the network."""

import hashlib
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.e2e import real_models
from tests.e2e.up import System, living, sizewise, up

SPEC = """
models:
  mlp: {uri: mlp.onnx}
  lengths: {uri: lengths.py}
"""
INFER = {"inputs": [{"name": "x", "shape": [1, 16], "datatype": "FP32", "data": [0.5] * 16}]}
BROWSERS = [
    pytest.param({"Origin": "https://evil.example"}, id="foreign origin"),
    pytest.param({"Origin": "http://localhost:9999"}, id="another port of this machine"),
    pytest.param({"Origin": "null"}, id="sandboxed frame"),
    pytest.param({"Sec-Fetch-Site": "cross-site"}, id="cross-site"),
    pytest.param({"Sec-Fetch-Site": "same-site"}, id="same-site"),
    pytest.param({"Host": "evil.example"}, id="rebinding host"),
    pytest.param({"Host": "127.0.0.1.evil.example"}, id="host that begins like ours"),
    pytest.param({"Host": "evil.example", "Origin": "http://evil.example"}, id="rebinding host, its own origin"),
]


@dataclass(frozen=True)
class Guarded:
    system: System
    folder: Path

    def deploy_body(self, name: str, file: str = "mlp.onnx", **more: Any) -> dict[str, Any]:
        return {"name": name, "uri": str(self.folder / file), **more}

    def deployed(self) -> set[str]:
        return {model["name"] for model in self.system.status()["models"]}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("models")
    real_models.write_mlp(folder / "mlp.onnx")
    (folder / "lengths.py").write_text(real_models.PYTHON_MODEL)
    with up(SPEC, folder) as system:
        yield Guarded(system, folder)


def refused(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_web_page_can_neither_read_nor_ask_at_the_data_port(guarded: Guarded, browser: dict[str, str]) -> None:
    http, before = guarded.system.http, guarded.system.model("mlp")["requests_total"]
    for path in ("/v2", "/v2/models", "/v2/models/mlp", "/v2/models/mlp/stats", "/v1/models", "/models/mlp/x"):
        refused(http.get(path, headers=browser), 403)
    refused(http.post("/v2/models/mlp/infer", json=INFER, headers=browser), 403)
    simple = {**browser, "Content-Type": "text/plain"}
    refused(http.post("/v2/repository/models/mlp/unload", content=b"", headers=simple), 403)
    refused(http.post("/v2/repository/index", content=b"", headers=simple), 403)
    refused(http.options("/v2/models/mlp/infer", headers=browser), 403)
    seen = guarded.system.model("mlp")
    assert (seen["requests_total"], seen["pinned"]) == (before, None)


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_web_page_can_neither_read_nor_deploy_at_the_admin_port(guarded: Guarded, browser: dict[str, str]) -> None:
    """Not even one that has got hold of the token."""
    admin, before = guarded.system.admin, guarded.deployed()
    for path in ("/api/v1/status", "/api/v1/models", "/api/v1/models/mlp", "/metrics", "/openapi.json", "/healthz"):
        refused(admin.get(path, headers=browser), 403)
    refused(admin.post("/api/v1/models", json=guarded.deploy_body("evil"), headers=browser), 403)
    refused(admin.delete("/api/v1/models/mlp", headers=browser), 403)
    refused(admin.options("/api/v1/models", headers=browser), 403)
    assert guarded.deployed() == before


def test_a_program_on_this_machine_may_ask(guarded: Guarded) -> None:
    own = {"Origin": guarded.system.url, "Sec-Fetch-Site": "same-origin"}
    for headers in ({}, own, {"Host": "localhost"}):
        assert guarded.system.http.post("/v2/models/mlp/infer", json=INFER, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param(None, id="none"),
        pytest.param("Bearer wrong", id="wrong token"),
        pytest.param("Bearer", id="empty token"),
        pytest.param("Basic TOKEN", id="wrong scheme"),
        pytest.param("Bearer TOKENx", id="token and more"),
    ],
)
def test_admin_calls_need_the_token(guarded: Guarded, authorization: str | None) -> None:
    system, before = guarded.system, guarded.deployed()
    headers = {} if authorization is None else {"Authorization": authorization.replace("TOKEN", system.token)}
    paths = system.admin.get("/openapi.json").json()["paths"]
    assert len(paths) >= 7
    with httpx.Client(base_url=system.admin_url, headers=headers, timeout=20) as client:
        assert client.get("/healthz").status_code == 200
        for path, methods in paths.items():
            if path == "/healthz":
                continue
            for method in methods:
                asked = path.replace("{name}", "mlp")
                refused(client.request(method, asked, params={"token": system.token}), 401)
        refused(client.post("/api/v1/models", json=guarded.deploy_body("evil")), 401)
    assert guarded.deployed() == before


def test_secrets_are_where_only_their_owner_looks(guarded: Guarded) -> None:
    state_dir = guarded.system.state_dir
    assert stat.S_IMODE((state_dir / "admin-token").stat().st_mode) == 0o600
    assert {stat.S_IMODE(each.stat().st_mode) for each in (state_dir, state_dir / "run")} == {0o700}
    assert len(guarded.system.token) >= 32
    for process in living(state_dir):
        assert guarded.system.token not in " ".join(process.cmdline())
    for log in (state_dir / "logs").iterdir():
        assert guarded.system.token not in log.read_text(errors="replace"), log.name


def test_both_ports_are_open_to_this_machine_only(guarded: Guarded) -> None:
    roles = {each["role"]: each["pid"] for each in guarded.system.status()["processes"]}
    for role in ("controller", "gateway", "keeper", "warm"):
        found = listening(roles[role])
        assert {each.laddr.ip for each in found} <= {"127.0.0.1"}, role
        assert bool(found) is (role != "warm")


def test_code_is_not_deployed_over_http_alone(guarded: Guarded) -> None:
    admin, before = guarded.system.admin, guarded.deployed()
    attempts: list[dict[str, Any]] = [
        guarded.deploy_body("evil", "lengths.py"),
        guarded.deploy_body("evil", "lengths.py", allow_code=True),
        guarded.deploy_body("evil", "lengths.py", allow_code=True, proof=f"{'0' * 16}.{'0' * 64}"),
        guarded.deploy_body("mlp", "lengths.py"),
        {"name": "evil", "command": [sys.executable, "-c", "print()"]},
        {"name": "evil", "command": [sys.executable, "-c", "print()"], "allow_code": True, "proof": "../../x"},
        {"name": "mlp", "command": [sys.executable, "-c", "print()"]},
    ]
    for body in attempts:
        refused(admin.post("/api/v1/models", json=body), 403)
    assert guarded.deployed() == before
    assert guarded.system.model("mlp")["format"] == "onnx"
    assert admin.post("/api/v1/models", json=guarded.deploy_body("plain")).status_code == 201
    assert admin.delete("/api/v1/models/plain").status_code == 200


def test_code_is_deployed_by_who_owns_the_state_directory(guarded: Guarded) -> None:
    where = ("--state-dir", guarded.system.state_dir)
    denied = sizewise("deploy", "mine", guarded.folder / "lengths.py", *where)
    assert (denied.returncode, denied.stdout) == (1, "")
    assert len(denied.stderr.splitlines()) == 1
    assert "--allow-code" in denied.stderr
    allowed = sizewise("deploy", "mine", guarded.folder / "lengths.py", "--allow-code", *where)
    assert allowed.returncode == 0, allowed.stderr
    body = {"inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": ["four"]}]}
    answer = guarded.system.http.post("/v2/models/mine/infer", json=body)
    assert answer.json()["outputs"][0]["data"] == [4]
    assert not list((guarded.system.state_dir / "run").glob("proof-*")), "it served once"


def test_an_open_address_without_keys_is_refused(tmp_path: Path) -> None:
    real_models.write_mlp(tmp_path / "mlp.onnx")
    spec = tmp_path / "sizewise.yaml"
    spec.write_text("models:\n  mlp: {uri: mlp.onnx}\nserving: {host: 0.0.0.0, port: 0, admin_port: 0}\n")
    for options in (["--detach"], []):
        run = sizewise("up", spec, "--state-dir", tmp_path / "state", *options)
        assert (run.returncode, run.stdout) == (2, "")
        (line,) = run.stderr.splitlines()
        assert "0.0.0.0" in line
        assert "api_keys" in line
    assert living(tmp_path / "state") == []


def test_an_open_address_asks_for_an_api_key(tmp_path: Path) -> None:
    real_models.write_mlp(tmp_path / "mlp.onnx")
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{hashlib.sha256(b'right').hexdigest()}  # of a test\n")
    serving = "\nserving: {host: 0.0.0.0, port: 0, admin_port: 0, api_keys: keys.txt}\n"
    with up("models:\n  mlp: {uri: mlp.onnx}\n", tmp_path, serving=serving) as system:
        url = f"http://127.0.0.1:{httpx.URL(system.url).port}"
        with httpx.Client(base_url=url, timeout=30) as client:
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"X-API-Key": ""},
                {"X-API-Key": keys.read_text().split()[0]},
            ):
                answer = client.post("/v2/models/mlp/infer", json=INFER, headers=headers)
                assert (answer.status_code, list(answer.json())) == (401, ["error"])
                assert client.get("/v2/models", headers=headers).status_code == 401
            for headers in ({"Authorization": "Bearer right"}, {"X-API-Key": "right"}):
                assert client.post("/v2/models/mlp/infer", json=INFER, headers=headers).status_code == 200
            assert client.get("/v2/health/ready").status_code == 200, "probes carry no key"
        assert {each.laddr.ip for each in listening(system.pid("gateway"))} == {"0.0.0.0"}
        assert {each.laddr.ip for each in listening(system.pid("controller"))} == {"127.0.0.1"}


def listening(pid: int) -> list[Any]:
    return [each for each in psutil.Process(pid).net_connections("inet") if each.status == "LISTEN"]
