"""What the HTTP side takes, what it refuses, and how."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.gateway.limits import Limits
from tests.unit.gateway.malformed import CHUNKED, MALFORMED, POST
from tests.unit.gateway.rig import GOOD, FakeReplica, Rig, get, infer

LIMITS = Limits(head_bytes=2048, headers=20, body_bytes=1000, buffered_bytes=3000, pipelined=4)


def rig() -> Rig:
    made = Rig(limits=LIMITS)
    made.add(FakeReplica())
    return made


@pytest.mark.parametrize(("request_bytes", "status"), MALFORMED)
@pytest.mark.parametrize("step", [1, 7, 2600, 1 << 20], ids=["by bytes", "by sevens", "in halves", "at once"])
def test_malformed_is_refused(request_bytes: bytes, status: int, step: int) -> None:
    made = rig()
    client = made.connect()
    for at in range(0, len(request_bytes), step):
        client.send(request_bytes[at : at + step])
    assert client.statuses == [status]
    assert client.error
    client.leave()
    assert made.gateway.buffered_bytes == 0
    assert made.gateway.in_flight == 0
    assert made.gateway.models["m"].in_flight == 0


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(POST + b"X: ", id="header"),
        pytest.param(CHUNKED + b"3\r\nabc\r\n0\r\nX: ", id="trailer"),
        pytest.param(CHUNKED + b"3;", id="chunk extension"),
    ],
)
def test_what_never_ends_is_cut_off(beginning: bytes) -> None:
    client = rig().ask(beginning)
    for _ in range(50):
        client.send(b"a" * 100)
    assert client.statuses == [431]


def test_nothing_behind_a_malformed_request_is_read() -> None:
    client = rig().ask(POST + b"Content-Length: 0x3\r\n\r\n" + get("/v2"))
    assert client.statuses == [400]
    assert client.connection.deaf


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        pytest.param(infer(), GOOD, id="Content-Length"),
        pytest.param(CHUNKED + b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nX: trailer\r\n\r\n", b"abcde", id="chunked"),
        pytest.param(CHUNKED.replace(b"chunked", b"CHUNKED") + b"1\r\na\r\n0\r\n\r\n", b"a", id="case of coding"),
        pytest.param(b"\r\n\r\n" + infer(), GOOD, id="empty lines before"),
        pytest.param(POST.replace(b"/v2", b"http://localhost:8080/v2") + b"\r\n", b"", id="absolute form"),
        pytest.param(infer(headers="Connection: Upgrade\r\nUpgrade: h2c\r\n"), GOOD, id="h2c is ignored"),
        pytest.param(b"POST /v2/models/m/infer HTTP/1.0\r\nContent-Length: 1\r\n\r\na", b"a", id="HTTP/1.0, no Host"),
    ],
)
@pytest.mark.parametrize("step", [1, 1 << 20], ids=["by bytes", "at once"])
def test_body_reaches_the_replica(request_bytes: bytes, body: bytes, step: int) -> None:
    replica = FakeReplica()
    made = Rig()
    made.add(replica)
    client = made.connect()
    for at in range(0, len(request_bytes), step):
        client.send(request_bytes[at : at + step])
    (x,) = replica.pending.values()
    assert x.joined() == body
    assert [name.lower() for name, _ in x.headers].count(b"x") == 0
    replica.finish()
    assert client.statuses == [200]
    assert made.gateway.buffered_bytes == 0


@pytest.mark.parametrize(
    ("request_bytes", "header", "closed"),
    [
        pytest.param(get("/v2"), b"", False, id="1.1: stays"),
        pytest.param(get("/v2", headers="Connection: close\r\n"), b"Connection: close", True, id="1.1: asked to close"),
        pytest.param(b"GET /v2 HTTP/1.0\r\n\r\n", b"Connection: close", True, id="1.0: closes"),
        pytest.param(
            b"GET /v2 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"Connection: keep-alive",
            False,
            id="1.0: asked to stay",
        ),
    ],
)
def test_keep_alive(request_bytes: bytes, header: bytes, closed: bool) -> None:
    client = rig().ask(request_bytes)
    assert client.statuses == [200]
    assert header in client.text
    assert (b"Connection" in client.text) == bool(header)
    assert client.transport.closed == closed


def test_head_has_the_length_and_no_body() -> None:
    made = rig()
    whole, head = made.ask(get("/v2")).text, made.ask(get("/v2", method="HEAD")).text
    assert head == whole[: whole.index(b"\r\n\r\n") + 4]


def test_continue_is_sent_for_a_body_that_is_wanted() -> None:
    made = rig()
    client = made.ask(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert client.text == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert made.gateway.models["m"].in_flight == 1


def test_continue_waits_for_earlier_answers() -> None:
    replica = FakeReplica()
    made = Rig()
    made.add(replica)
    client = made.ask(infer() + POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert client.text == b""
    replica.finish()
    assert client.statuses == [200, 100]


def test_continue_is_not_sent_for_a_body_that_is_refused() -> None:
    client = rig().ask(
        b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    )
    assert client.statuses == [404]
    assert client.transport.eof
    client.send(b"abc")
    assert client.statuses == [404]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        pytest.param(b"Host: elsewhere\r\nExpect: 100-continue\r\n", 403, id="foreign host"),
        pytest.param(b"Host: localhost\r\nExpect: magic\r\n", 417, id="unknown expectation"),
    ],
)
def test_a_head_that_is_refused_is_not_left_waiting_for_its_body(lines: bytes, status: int) -> None:
    client = rig().ask(b"POST /v2/models/m/infer HTTP/1.1\r\n" + lines + b"Content-Length: 3\r\n\r\n")
    assert client.statuses == [status]
    assert client.transport.eof


def test_refused_body_goes_by_and_the_connection_goes_on() -> None:
    made = rig()
    client = made.ask(infer(path="/v2/models/other/infer"))
    assert client.statuses == [404]
    client.send(get("/v2"))
    assert client.statuses == [404, 200]
    assert made.gateway.buffered_bytes == 0


def test_refused_endless_body_ends_the_connection() -> None:
    client = rig().ask(CHUNKED.replace(b"/m/", b"/other/") + b"fff\r\n" + b"a" * 1500)
    assert client.statuses == [404]
    assert client.connection.deaf


def test_all_clients_together_are_bounded() -> None:
    made = rig()
    clients = [made.ask(infer(b"a" * 900)[:-1]) for _ in range(4)]
    assert [client.statuses for client in clients] == [[], [], [], [503]]
    assert b"Retry-After: 1" in clients[3].text
    clients[0].leave()
    clients[1].send(b"a")
    assert made.gateway.models["m"].in_flight == 1
    for client in clients[1:]:
        client.leave()
    assert made.gateway.buffered_bytes == 0


def test_tiny_chunks_do_not_weigh_more_than_they_hold() -> None:
    made = Rig()
    made.add()
    client = made.ask(CHUNKED + b"2\r\nab\r\n" * 5000)
    assert client.connection.x is not None
    assert len(client.connection.x.body) <= 2
    assert client.connection.x.joined() == b"ab" * 5000


def test_connections_are_bounded() -> None:
    made = Rig(limits=Limits(connections=1))
    first, second = made.connect(), made.connect()
    assert second.statuses == [503]
    assert second.transport.closed
    first.leave()
    assert made.connect().statuses == []


def test_pipelined_beyond_the_limit_waits_unread() -> None:
    replica = FakeReplica(max_outstanding=100)
    made = Rig(limits=LIMITS)
    made.add(replica)
    client = made.ask(infer() * 6)
    assert [len(replica.pending), client.transport.reading] == [4, False]
    replica.finish()
    assert len(replica.pending) == 4
    replica.finish()
    assert [len(replica.pending), client.transport.reading] == [4, True]
    while replica.pending:
        replica.finish()
    assert client.statuses == [200] * 6


def test_a_slow_reader_starts_nothing_new() -> None:
    replica = FakeReplica()
    made = Rig()
    made.add(replica)
    client = made.connect()
    client.connection.pause_writing()
    client.send(infer())
    assert not replica.pending
    client.connection.resume_writing()
    assert len(replica.pending) == 1


def test_the_slowest_readers_are_dropped_when_memory_ends() -> None:
    made = Rig(limits=LIMITS)
    slow, slower = made.connect(), made.connect()
    for client, unsent in ((slow, 1000), (slower, 2500)):
        client.connection.pause_writing()
        client.transport.unsent = unsent
    made.gateway.look_after_clients(0.0)
    assert [client.transport.aborted for client in (slow, slower)] == [False, True]


def test_a_slow_reader_is_dropped_as_soon_as_memory_ends() -> None:
    made = Rig(limits=LIMITS)
    client = made.connect()
    client.transport.unsent = 3001
    client.connection.pause_writing()
    assert client.transport.aborted


def test_answers_that_wait_for_their_turn_are_bounded() -> None:
    replica = FakeReplica(max_outstanding=100)
    made = Rig(limits=LIMITS)
    made.add(replica)
    client = made.ask(infer() * 4)
    _, *later = list(replica.pending)
    for number in later:
        x = replica.release(number)
        assert x is not None
        assert client.connection.queue[0] is not x
        x.answer(200, b"a" * 1400)
    assert client.transport.aborted
    client.leave()
    assert made.gateway.buffered_bytes == 0


def test_heads_without_an_end_are_bounded_together() -> None:
    made = Rig(limits=Limits(head_bytes=2000, buffered_bytes=5000))
    made.add()
    clients = [made.ask(POST + b"X: " + b"a" * 1500) for _ in range(4)]
    assert [client.statuses for client in clients] == [[], [], [], [503]]
    for client in clients:
        client.leave()
    assert made.gateway.buffered_bytes == 0


def test_large_heads_at_work_are_counted_and_not_remembered() -> None:
    made = Rig()
    made.add(FakeReplica(max_outstanding=100))
    large = "X: " + "a" * 8000 + "\r\n"
    client = made.ask(infer(headers=large) * 3)
    assert made.gateway.buffered_bytes > 3 * 8000
    assert not client.connection.facts_of[0]
    client.leave()
    assert made.gateway.buffered_bytes == 0


def test_equal_heads_are_kept_once() -> None:
    replica = FakeReplica(max_outstanding=100)
    made = Rig()
    made.add(replica)
    made.ask(infer() * 3)
    assert len({id(x.headers) for x in replica.pending.values()}) == 1


def test_a_feed_larger_than_a_head_is_looked_at_in_pieces() -> None:
    made = Rig(limits=LIMITS)
    client = made.ask(POST + b"X: " + b"a" * 50_000)
    assert client.statuses == [431]
    client.leave()
    assert made.gateway.buffered_bytes == 0


requests = st.lists(st.sampled_from(["infer", "meta", "missing", "chunked"]), min_size=1, max_size=12)


@given(requests, st.lists(st.integers(1, 60), min_size=1, max_size=30), st.randoms())
def test_answers_come_in_order_however_bytes_and_answers_arrive(kinds, cuts, random) -> None:
    replica = FakeReplica(max_outstanding=100)
    made = Rig()
    made.add(replica)
    parts = {
        "infer": infer(),
        "meta": get("/v2"),
        "missing": get("/none"),
        "chunked": CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
    }
    stream, client, at = b"".join(parts[kind] for kind in kinds), made.connect(), 0
    while at < len(stream):
        cut = cuts[at % len(cuts)]
        client.send(stream[at : at + cut])
        at += cut
    while replica.pending:
        x = replica.release(random.choice(list(replica.pending)))
        assert x is not None
        x.answer(200 if x.body_bytes else 500, b"{}")
    assert client.statuses == [404 if kind == "missing" else 200 for kind in kinds]
    assert made.gateway.buffered_bytes == 0
    assert not client.connection.queue


fragments = st.sampled_from(
    [
        POST,
        CHUNKED,
        infer(),
        get("/v2"),
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close, upgrade\r\n",
        b"Upgrade: h2c\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"\r\n",
        b"GET http://localhost/%zz?timeout=1 HTTP/1.1\r\n",
        b"POST /invocations HTTP/1.0\r\n",
    ]
)


@given(st.lists(st.one_of(fragments, st.binary(max_size=20)), max_size=12))
def test_whatever_comes_nothing_breaks_and_nothing_is_kept(pieces: list[bytes]) -> None:
    made = rig()
    client = made.connect()
    for piece in pieces:
        client.send(piece)
    assert not client.transport.aborted, "an answer, not an accident"
    assert set(client.statuses) <= {100, 200, 400, 404, 405, 408, 413, 415, 417, 431, 501, 503, 505}
    client.leave()
    assert made.gateway.buffered_bytes == 0
    assert made.gateway.models["m"].in_flight == 0
