"""Heads that pass the proxy."""

import pytest

from sizewise.gateway.forwarding import answer_head, request_head
from sizewise.gateway.head import Header
from tests.unit.gateway.rig import FakeReplica, Rig, infer

PATH = "/models/app/predict?a=b"


def forwarded(request_bytes: bytes) -> bytes:
    replica = FakeReplica()
    made = Rig()
    made.add(replica, name="app", runtime="command")
    made.ask(request_bytes)
    (x,) = replica.pending.values()
    return request_head(x)


def test_the_prefix_goes_and_is_named() -> None:
    text = forwarded(infer(b"abc", path=PATH))
    assert text.startswith(b"POST /predict?a=b HTTP/1.1\r\n")
    assert text.endswith(b"\r\n\r\n")
    for line in (
        b"Host: localhost",
        b"Content-Length: 3",
        b"X-Forwarded-Prefix: /models/app",
        b"X-Forwarded-For: 192.0.2.7",
        b"X-Forwarded-Host: localhost",
    ):
        assert text.count(b"\r\n" + line + b"\r\n") == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        pytest.param("/models/app", b"GET / ", id="no slash"),
        pytest.param("/models/app/", b"GET / ", id="slash"),
        pytest.param("/models/app/a%20b/../c", b"GET /a%20b/../c ", id="passed as it came"),
        pytest.param("/models/app?x=1", b"GET /?x=1 ", id="query only"),
    ],
)
def test_paths(path: str, line: bytes) -> None:
    assert forwarded(infer(b"", path=path).replace(b"POST", b"GET")).startswith(line)


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        pytest.param("Connection: close, X-Secret\r\nX-Secret: 1\r\n", False, id="named by Connection"),
        pytest.param("TE: trailers\r\n", False, id="TE"),
        pytest.param("Keep-Alive: timeout=5\r\n", False, id="Keep-Alive"),
        pytest.param("Proxy-Authorization: x\r\n", False, id="Proxy-Authorization"),
        pytest.param("X-Forwarded-For: 1.2.3.4\r\n", False, id="a forged sender"),
        pytest.param("Authorization: Basic x\r\n", True, id="the server's own credentials"),
        pytest.param("Cookie: a=b\r\n", True, id="Cookie"),
    ],
)
def test_headers_for_one_hop_stay_here(sent: str, passed: bool) -> None:
    last = sent.splitlines()[-1].encode()
    assert (last in forwarded(infer(b"", path=PATH, headers=sent))) == passed


def answer(status: int, headers: list[Header], *, method: bytes = b"GET", http_11: bool = True) -> tuple[bytes, str]:
    replica = FakeReplica()
    made = Rig()
    made.add(replica, name="app", runtime="command")
    made.ask(infer(b"", path=PATH))
    (x,) = replica.pending.values()
    x.method, x.http_11 = method, http_11
    made_head = answer_head(x, status, headers)
    flags = [name for name in ("chunked", "bodiless", "until_eof") if getattr(made_head, name)]
    return made_head.text, " ".join(flags)


LENGTH, CHUNKS = (b"Content-Length", b"3"), (b"Transfer-Encoding", b"chunked")


@pytest.mark.parametrize(
    ("status", "headers", "method", "http_11", "flags"),
    [
        pytest.param(200, [LENGTH], b"GET", True, "", id="length"),
        pytest.param(200, [CHUNKS], b"GET", True, "chunked", id="chunks"),
        pytest.param(200, [], b"GET", True, "chunked until_eof", id="until the end"),
        pytest.param(200, [CHUNKS], b"GET", False, "", id="chunks, client of 1.0"),
        pytest.param(200, [], b"GET", False, "until_eof", id="until the end, client of 1.0"),
        pytest.param(200, [LENGTH], b"HEAD", True, "bodiless", id="HEAD"),
        pytest.param(204, [], b"GET", True, "bodiless", id="204"),
        pytest.param(304, [], b"GET", True, "bodiless", id="304"),
    ],
)
def test_framing(status: int, headers: list[Header], method: bytes, http_11: bool, flags: str) -> None:
    text, found = answer(status, headers, method=method, http_11=http_11)
    assert found == flags
    assert (b"Transfer-Encoding: chunked" in text) == ("chunked" in flags)


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        pytest.param(b"/login", b"/models/app/login", id="absolute path"),
        pytest.param(b"/models/app/login", b"/models/app/login", id="the server knows its prefix"),
        pytest.param(b"login", b"login", id="relative"),
        pytest.param(b"//other/x", b"//other/x", id="other host"),
        pytest.param(b"https://other/x", b"https://other/x", id="absolute"),
    ],
)
def test_redirects_stay_under_the_prefix(location: bytes, seen: bytes) -> None:
    text, _ = answer(302, [LENGTH, (b"Location", location)])
    assert b"Location: " + seen + b"\r\n" in text
