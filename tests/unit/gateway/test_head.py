"""Who may call: Host, Origin, API keys."""

import hashlib
import os
from pathlib import Path

import pytest

from tests.unit.gateway.rig import FakeReplica, Rig, get, infer


def keyed(host: str, extra: str = "") -> bytes:
    return f"GET /v2 HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode()


@pytest.mark.parametrize(
    ("host", "served"),
    [
        pytest.param("localhost", True, id="localhost"),
        pytest.param("LocalHost:8080", True, id="case and port"),
        pytest.param("localhost.", True, id="trailing dot"),
        pytest.param("127.0.0.1:1", True, id="127.0.0.1"),
        pytest.param("127.8.9.10", True, id="another of 127/8"),
        pytest.param("[::1]:8080", True, id="::1"),
        pytest.param("models.example.com", True, id="configured"),
        pytest.param("models.example.com:9", True, id="configured, with a port"),
        pytest.param("evil.example", False, id="foreign: DNS rebinding"),
        pytest.param("localhost.evil.example", False, id="begins like localhost"),
        pytest.param("127.0.0.1.evil.example", False, id="begins like 127.0.0.1"),
        pytest.param("evil@localhost", False, id="user part"),
        pytest.param("localhost:8080:9090", False, id="two ports"),
        pytest.param("localhost,evil.example", False, id="list"),
        pytest.param("localhost/evil", False, id="path"),
        pytest.param("10.0.0.1", False, id="another address"),
        pytest.param("", False, id="empty"),
    ],
)
def test_host(host: str, served: bool) -> None:
    client = Rig(hosts=("Models.Example.com",)).ask(keyed(host))
    assert client.statuses == [200 if served else 403]


def test_any_host_when_asked_for() -> None:
    assert Rig(hosts=("*",)).ask(keyed("whatever.example")).statuses == [200]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        pytest.param("http://localhost/v2", 200, id="ours"),
        pytest.param("http://evil.example/v2", 403, id="foreign, with our Host"),
        pytest.param("http://evil.example", 403, id="foreign, no path"),
    ],
)
def test_host_in_the_target(target: str, status: int) -> None:
    assert Rig().ask(get(target)).statuses == [status]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param("", 200, id="a program"),
        pytest.param("Origin: http://localhost\r\n", 200, id="our own page"),
        pytest.param("Sec-Fetch-Site: same-origin\r\n", 200, id="our own page, says the browser"),
        pytest.param("Sec-Fetch-Site: none\r\n", 200, id="typed by the user"),
        pytest.param("Origin: http://evil.example\r\n", 403, id="foreign page"),
        pytest.param("Origin: null\r\n", 403, id="sandboxed page"),
        pytest.param("Origin: http://localhost:3000\r\n", 403, id="another program of this machine"),
        pytest.param("Sec-Fetch-Site: cross-site\r\n", 403, id="foreign page, says the browser"),
        pytest.param("Sec-Fetch-Site: same-site\r\n", 403, id="neighboring page"),
        pytest.param("Origin: http://localhost\r\nOrigin: http://evil.example\r\n", 400, id="two origins"),
    ],
)
@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/models/m/x", "/none"])
def test_pages_of_others_are_refused(headers: str, status: int, path: str) -> None:
    made = Rig()
    made.add(FakeReplica(), runtime="command")
    client = made.ask(get(path, headers=headers))
    if status == 200:
        assert client.statuses in ([200], [404], [])
    else:
        assert client.statuses == [status]
        assert client.error


def write_keys(path: Path, *keys: str, stamp_s: int = 1) -> None:
    path.write_text("# keys\n" + "".join(f"sha256:{hashlib.sha256(key.encode()).hexdigest()} who\n" for key in keys))
    os.utime(path, (stamp_s, stamp_s))


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(get("/v2"), 401, id="no key"),
        pytest.param(get("/v2", headers="X-API-Key: wrong\r\n"), 401, id="wrong key"),
        pytest.param(get("/v2", headers="X-API-Key: \r\n"), 401, id="empty key"),
        pytest.param(get("/v2", headers="X-API-Key: one\r\n"), 200, id="X-API-Key"),
        pytest.param(get("/v2", headers="Authorization: Bearer two\r\n"), 200, id="Bearer"),
        pytest.param(get("/v2", headers="Authorization: bearer two\r\n"), 200, id="bearer, case of the scheme"),
        pytest.param(get("/v2", headers="Authorization: Basic two\r\n"), 401, id="another scheme"),
        pytest.param(get("/v2", headers="Authorization: two\r\n"), 401, id="no scheme"),
        pytest.param(get("/none"), 401, id="which addresses exist is not told"),
        pytest.param(get("/v2/models/m"), 401, id="metadata"),
        pytest.param(infer(), 401, id="infer"),
        pytest.param(get("/v2/health/live"), 200, id="live is open"),
        pytest.param(get("/v2/health/ready"), 200, id="ready is open"),
        pytest.param(get("/ping"), 200, id="ping is open"),
    ],
)
def test_api_keys(tmp_path: Path, request_bytes: bytes, status: int) -> None:
    write_keys(tmp_path / "keys", "one", "two")
    made = Rig(keys=tmp_path / "keys")
    made.add(FakeReplica())
    client = made.ask(request_bytes)
    assert client.statuses == [status]
    assert (b"WWW-Authenticate: Bearer" in client.text) == (status == 401)


def test_key_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    write_keys(path, "old")
    made = Rig(keys=path)
    made.add(FakeReplica(max_outstanding=9))
    client = made.connect()
    ask = infer(headers="X-API-Key: old\r\n")
    client.send(ask)
    assert len(made.gateway.replicas) + made.gateway.models["m"].in_flight == 1
    write_keys(path, "new", stamp_s=2)
    made.gateway.access.keys.refresh()
    # The same connection and the same headers: the verdict it remembers has ended
    client.send(ask)
    assert made.gateway.models["m"].in_flight == 1
    path.unlink()
    made.gateway.access.keys.refresh()
    assert made.ask(get("/v2", headers="X-API-Key: new\r\n")).statuses == [401]
