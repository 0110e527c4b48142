"""Servers that users bring, behind ``sizewise up``: real frameworks, and whatever HTTP can say."""

import itertools
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e import real_models
from tests.e2e.up import System, up

SERVERS = Path(__file__).with_name("user_servers")
SPEC = f"""
models:
  flask:
    command: ["{sys.executable}", -m, gunicorn, -b, "127.0.0.1:{{port}}", "flask_pickle:app"]
    cwd: "{SERVERS}"
    env: {{MODEL: "FOLDER/model.pkl"}}
    ready: {{path: /healthz, timeout_s: 50}}
  fast:
    command: ["{sys.executable}", -m, uvicorn, --port, "{{port}}", --log-level, warning, "fastapi_app:app"]
    cwd: "{SERVERS}"
    ready: {{path: /echo/ready, timeout_s: 50}}
  mlp: {{uri: mlp.onnx}}
"""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    from sklearn.linear_model import LogisticRegression

    folder = tmp_path_factory.mktemp("models")
    real_models.write_mlp(folder / "mlp.onnx")
    model = LogisticRegression(max_iter=500).fit(*real_models.iris())
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    with up(SPEC.replace("FOLDER", str(folder)), folder) as running:
        yield running


def test_flask_and_pickle(system: System) -> None:
    features, labels = real_models.iris()
    assert system.model("flask")["state"] == "cold"
    answer = system.http.post("/models/flask/predict", json={"rows": features[::50].tolist()}, timeout=50)
    assert (answer.status_code, answer.json()["prediction"]) == (200, labels[::50].tolist())
    seen = system.until("flask", lambda seen: seen["state"] == "ready")
    assert seen["load_s"] > 0.1, "measured from outside"


def test_status_shows_the_memory_of_the_whole_tree(system: System) -> None:
    worker = system.http.post("/models/flask/predict", json={"rows": [[1, 2, 3, 4]]}, timeout=50).json()["pid"]
    (leader,) = system.processes("command", "flask")
    assert worker != leader["pid"], "gunicorn answers from a child"
    tree = [psutil.Process(leader["pid"]), *psutil.Process(leader["pid"]).children(recursive=True)]
    assert worker in {process.pid for process in tree}
    private = sum(anonymous_bytes(process.pid) for process in tree)
    assert private > 1.5 * anonymous_bytes(leader["pid"])
    shown = system.until("flask", lambda seen: abs(seen["memory_bytes"] - private) < 0.2 * private)
    assert shown["memory_bytes"] > anonymous_bytes(worker)
    assert sum(each["memory_bytes"] for each in system.processes("command", "flask")) > anonymous_bytes(worker)


def anonymous_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def test_fastapi_and_its_own_errors(system: System) -> None:
    answer = system.http.post("/models/fast/predict", json={"rows": [[1, 2], [3, 4]]})
    assert (answer.status_code, answer.json()) == (200, {"sums": [3.0, 7.0]})
    wrong = system.http.post("/models/fast/predict", json={"rows": "none"})
    assert (wrong.status_code, list(wrong.json())) == (422, ["detail"]), "its answers are its own"
    teapot = system.http.get("/models/fast/teapot")
    assert (teapot.status_code, teapot.text, teapot.headers["x-kind"]) == (418, "short and stout", "teapot")
    assert system.http.get("/models/fast/none").json() == {"detail": "Not Found"}
    assert system.http.get("/models/fast/openapi.json").json()["info"]["title"] == "FastAPI"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_path_and_query(system: System, method: str) -> None:
    body = b"\x00\xff body" if method not in {"GET", "HEAD"} else b""
    url = "/models/fast/echo/a%2Fb/c%20d/?q=1&q=%C3%BC&empty="
    answer = system.http.request(method, url, content=body, headers={"X-Mine": "kept", "Cookie": "a=b"})
    assert answer.status_code == 200
    if method == "HEAD":
        assert answer.content == b""
        return
    seen = answer.json()
    assert (seen["method"], seen["query"]) == (method, "q=1&q=%C3%BC&empty=")
    assert seen["path"] == "/echo/a%2Fb/c%20d/"
    assert seen["body"].encode("latin-1") == body
    headers = dict(seen["headers"])
    assert (headers["x-mine"], headers["cookie"]) == ("kept", "a=b")
    assert headers["x-forwarded-prefix"] == "/models/fast"
    assert headers["x-forwarded-host"] == headers["host"] == system.address


def test_the_prefix_comes_back_in_redirects(system: System) -> None:
    answer = system.http.get("/models/fast/moved")
    assert (answer.status_code, answer.headers["location"]) == (307, "/models/fast/echo/here")


def test_forged_prefixes_and_hop_headers_stay_outside(system: System) -> None:
    forged = {"X-Forwarded-Prefix": "/elsewhere", "X-Forwarded-For": "8.8.8.8", "Connection": "x-gone", "X-Gone": "1"}
    names = dict(system.http.get("/models/fast/echo/x", headers=forged).json()["headers"])
    assert names["x-forwarded-prefix"] == "/models/fast"
    assert names["x-forwarded-for"] == "127.0.0.1"
    assert "x-gone" not in names


def test_large_bodies_both_ways(system: System) -> None:
    body = bytes(range(256)) * 16384
    assert system.http.put("/models/fast/echo/large", content=body).json()["body"].encode("latin-1") == body
    chunks = (body[start : start + 65536] for start in range(0, len(body), 65536))
    assert system.http.post("/models/fast/echo/chunked", content=chunks).json()["body"].encode("latin-1") == body


def test_a_command_is_no_tensor_model_and_the_other_way_round(system: System) -> None:
    refused: list[Any] = [
        system.http.post("/v2/models/fast/infer", json={"inputs": []}),
        system.http.post("/v1/models/fast:predict", json={"instances": [1]}),
        system.http.get("/models/mlp/anything"),
    ]
    assert [answer.status_code for answer in refused] == [400, 400, 400]
    assert "/models/fast/" in refused[0].json()["error"]
    assert "/v2/models/mlp/infer" in refused[2].json()["error"]
    assert system.http.get("/models/none/x").status_code == 404


def test_a_client_that_leaves_is_noticed_by_the_server(system: System) -> None:
    with system.http.stream("GET", "/models/fast/events?count=1000&every_s=0.1") as answer:
        lines = (line for line in answer.iter_lines() if line)
        assert list(itertools.islice(lines, 2)) == ["data: 0", "data: 1"]
    assert system.http.get("/models/fast/left", timeout=20).json() == {"left": True}
