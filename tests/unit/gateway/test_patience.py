"""How long a client may take, and what becomes of one that takes longer."""

import pytest

from sizewise.gateway.limits import Limits
from tests.unit.gateway.rig import Client, FakeReplica, Rig, get, infer

LIMITS = Limits(head_s=10, body_s=30, body_bytes_per_s=100, idle_s=75, write_s=60, linger_s=5)
HEAD = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n"


def after(beginning: bytes, seconds: float) -> Client:
    made = Rig(limits=LIMITS)
    made.add(FakeReplica())
    client = made.ask(beginning) if beginning else made.connect()
    made.gateway.look_after_clients(client.connection.now_s + seconds)
    return client


@pytest.mark.parametrize(
    ("beginning", "seconds", "statuses", "closed"),
    [
        pytest.param(b"", 74, [], False, id="nothing yet"),
        pytest.param(b"", 76, [], True, id="nothing for too long"),
        pytest.param(get("/v2"), 74, [200], False, id="idle"),
        pytest.param(get("/v2"), 77, [200], True, id="idle for too long"),
        pytest.param(b"GET /v2 HT", 9, [], False, id="part of a head"),
        pytest.param(b"GET /v2 HT", 11, [408], False, id="slowloris: head"),
        pytest.param(HEAD, 29, [], False, id="no body yet"),
        pytest.param(HEAD, 31, [408], False, id="slowloris: body"),
        pytest.param(HEAD + b"a" * 1000, 39, [], False, id="a slow body that moves"),
        pytest.param(HEAD + b"a" * 1000, 41, [408], False, id="a body that moves too slowly"),
        pytest.param(infer(), 1000, [], False, id="it is we who are slow"),
        pytest.param(
            HEAD.replace(b"Content", b"Expect: 100-continue\r\nContent"), 29, [100], False, id="after 100 Continue"
        ),
    ],
)
def test_time_to_arrive(beginning: bytes, seconds: float, statuses: list[int], closed: bool) -> None:
    client = after(beginning, seconds)
    assert client.statuses == statuses
    assert client.transport.closed == closed
    if statuses == [408]:
        assert client.error
        assert client.transport.eof


def test_after_a_refusal_the_rest_is_dropped_for_a_while() -> None:
    client = after(HEAD, 31)
    client.send(b"a" * 100)
    client.connection.gateway.look_after_clients(client.connection.stuck_since_s + 4)
    assert not client.transport.aborted
    client.connection.gateway.look_after_clients(client.connection.stuck_since_s + 6)
    assert client.transport.aborted


def test_a_client_that_takes_nothing_is_dropped() -> None:
    made = Rig(limits=LIMITS)
    client = made.connect()
    client.transport.unsent = 1000
    client.connection.pause_writing()
    began_s = client.connection.stuck_since_s
    made.gateway.look_after_clients(began_s + 50)
    client.transport.unsent = 900
    made.gateway.look_after_clients(began_s + 100)
    assert [client.transport.aborted] == [False]
    made.gateway.look_after_clients(began_s + 161)
    assert [client.transport.aborted] == [True]
