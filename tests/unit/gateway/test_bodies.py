"""Large bodies go past the parser, and nothing else does."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.gateway.bodies import LARGE_BYTES
from sizewise.gateway.limits import Limits
from tests.unit.gateway.rig import Client, FakeReplica, Rig, get, infer

BODY = bytes(range(256)) * (3 * LARGE_BYTES // 256)
"""With every byte that may mean something in HTTP."""


def rig(limits: Limits | None = None) -> tuple[Rig, FakeReplica]:
    made, replica = Rig(limits=limits), FakeReplica(max_outstanding=8)
    made.add(replica)
    return made, replica


def send(client: Client, data: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        if end > start:
            client.send(data[start:end])


@given(st.lists(st.integers(0, 1 << 20), max_size=8))
def test_bodies_and_what_follows_them_arrive_whole_however_they_are_cut(cuts: list[int]) -> None:
    made, replica = rig()
    client = made.connect()
    send(client, infer(BODY) + infer(b"small") + infer(BODY[::-1]) + get("/v2/health/live"), cuts)
    bodies = []
    while replica.pending:
        bodies.append(next(iter(replica.pending.values())).joined())
        replica.finish()
    assert bodies == [BODY, b"small", BODY[::-1]]
    assert client.statuses == [200] * 4
    assert made.gateway.buffered_bytes == 0


def test_pieces_are_kept_as_they_came() -> None:
    made, replica = rig()
    client, request = made.connect(), infer(BODY)
    client.send(request[:1000])
    piece = request[1000:]
    client.send(piece)
    (x,) = replica.pending.values()
    assert x.body[-1] is piece


@pytest.mark.parametrize("step", [1000, 1 << 20])
@pytest.mark.parametrize(
    "after", [b"garbage\r\n\r\n", b"GET / HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n"]
)
def test_what_follows_a_body_is_judged_as_ever(after: bytes, step: int) -> None:
    made, replica = rig()
    client, data = made.connect(), infer(BODY) + after
    for at in range(0, len(data), step):
        client.send(data[at : at + step])
    assert len(replica.pending) == 1
    replica.finish()
    assert client.statuses == [200, 400]


def test_a_body_that_is_waited_for_is_asked_for_first() -> None:
    made, replica = rig()
    client, request = made.connect(), infer(BODY, headers="Expect: 100-continue\r\n")
    client.send(request[: -len(BODY)])
    assert b"100 Continue" in client.text
    client.send(BODY)
    assert next(iter(replica.pending.values())).joined() == BODY


def test_chunks_are_the_parsers_business() -> None:
    made, replica = rig()
    chunk = b"%x\r\n%b\r\n" % (len(BODY), BODY)
    head = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = made.connect()
    for data in (head, chunk[:1000], chunk[1000:], b"0\r\n\r\n"):
        client.send(data)
    assert next(iter(replica.pending.values())).joined() == BODY
    assert not client.connection.missing_bytes


def test_all_bodies_together_are_bounded_as_ever() -> None:
    made, replica = rig(Limits(buffered_bytes=len(BODY) // 2))
    client, request = made.connect(), infer(BODY)
    for at in range(0, len(request), 8192):
        client.send(request[at : at + 8192])
    assert client.statuses == [503]
    assert not replica.pending
    client.leave()
    assert made.gateway.buffered_bytes == 0


def test_a_client_that_leaves_within_a_body_leaves_nothing() -> None:
    made, replica = rig()
    client = made.connect()
    client.send(infer(BODY)[: len(BODY) // 2])
    assert client.connection.missing_bytes
    client.leave()
    assert made.gateway.buffered_bytes == 0
    assert not replica.pending
