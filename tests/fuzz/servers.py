"""Answers of other servers, as the proxy and the gRPC front read them."""

import asyncio
import re
from collections.abc import Coroutine
from typing import Any, cast

import httptools

from sizewise.gateway.proxy import PortReplica
from sizewise.gateway.proxy import Upstream as Proxied
from sizewise.grpc_gateway.upstream import Answer, GatewayGoneError, _Connection
from tests.unit.gateway.rig import FakeTransport, Rig, get, infer

ASKED = (infer(b"abc", path="/models/app/x"), get("/models/app/x"), get("/models/app/x", method="HEAD"))


class _Server(PortReplica):
    """One connection, to nobody; a second one cannot be had."""

    def __init__(self) -> None:
        super().__init__("r1", 1, version="v1", max_outstanding=1)
        self.upstream = Proxied(self)
        self.upstream.connection_made(FakeTransport())
        self._spare.append(self.upstream)

    def _spawn(self, work: object) -> None:
        cast("Coroutine[Any, Any, None]", work).close()


class _Reader:
    """What a client makes of the bytes that it gets."""

    def __init__(self) -> None:
        self.body = b""
        self.answers = 0

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.answers += 1


def proxied(method: int, parts: list[bytes]) -> tuple[bytes, bytes, str]:
    """Status, body and end of what a client gets when a server of the user's answers in these pieces."""
    made, server = Rig(), _Server()
    made.add(name="app", runtime="command").attach(server)
    client = made.ask(ASKED[method % len(ASKED)])
    upstream = server.upstream
    for part in parts:
        if cast("FakeTransport", upstream._transport).is_closing():
            break
        upstream.data_received(part)
    upstream.connection_lost(None)
    how = "aborted" if client.transport.aborted else "open" if not client.transport.closed else "closed"
    status, reader = client.text[9:12], _Reader()
    if status and method % len(ASKED) < 2:  # what follows HEAD is no body
        httptools.HttpResponseParser(reader).feed_data(client.text)
        assert reader.answers <= 1, "one request, one answer"
        assert how != "open" or reader.answers, "whoever waits for more must be told that nothing comes"
    client.leave()
    assert made.gateway.buffered_bytes == 0
    assert made.gateway.in_flight == 0
    assert not server.pending
    return status, reader.body, how


def front(parts: list[bytes]) -> tuple[str, bytes]:
    """What the gRPC front makes of an answer in these pieces: the answer, or that there is none."""
    return asyncio.run(_front(parts))


async def _front(parts: list[bytes]) -> tuple[str, bytes]:
    connection, transport = _Connection(), FakeTransport()
    connection.connection_made(transport)
    asking = asyncio.ensure_future(connection.ask([b"GET / HTTP/1.1\r\n\r\n"]))
    await asyncio.sleep(0)
    for part in parts:
        if transport.is_closing():
            break
        connection.data_received(part)
    connection.connection_lost(None)
    try:
        answer: Answer = await asking
    except GatewayGoneError as error:
        return re.sub(r"[0-9].*", "", str(error)), b""
    return f"{answer.status // 100}", answer.body
