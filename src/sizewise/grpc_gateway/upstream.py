"""HTTP to the gateway over its local socket: one request at a time on each connection, connections kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httptools

MAX_SPARE = 64
"""Connections kept open without a request."""


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes


class GatewayGoneError(Exception):
    """The gateway is not there, or went away before it had answered: ask again in a moment."""


class Upstream:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._spare: list[_Connection] = []

    async def ask(
        self, method: str, target: str, *, headers: Iterable[tuple[str, str]] = (), body: Iterable[bytes] = ()
    ) -> Answer:
        """Raises GatewayGoneError. Cancelling it ends the connection, by which the gateway drops the request."""
        parts = list(body)
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers]
        if method == "POST":
            lines.append(f"Content-Length: {sum(map(len, parts))}")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        while self._spare:
            connection = self._spare.pop()
            if connection.usable:
                return await self._on(connection, [head, *parts])
        return await self._on(await self._connected(), [head, *parts])

    def close(self) -> None:
        for connection in self._spare:
            connection.close()

    async def _connected(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(_Connection, str(self._path))
        except OSError as error:
            raise GatewayGoneError(error.strerror or str(error)) from error
        return connection

    async def _on(self, connection: _Connection, parts: list[bytes]) -> Answer:
        try:
            answer = await connection.ask(parts)
        except BaseException:
            connection.close()
            raise
        if connection.usable and len(self._spare) < MAX_SPARE:
            self._spare.append(connection)
        else:
            connection.close()
        return answer


class _Connection(asyncio.Protocol):
    _transport: asyncio.Transport

    def __init__(self) -> None:
        self.usable = True
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._answer: asyncio.Future[Answer] | None = None

    async def ask(self, parts: list[bytes]) -> Answer:
        self._answer = asyncio.get_running_loop().create_future()
        self._headers, self._body = {}, []
        self._transport.writelines(parts)
        return await self._answer

    def close(self) -> None:
        self.usable = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._transport.abort()

    def connection_lost(self, _exc: Exception | None) -> None:
        self.usable = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(GatewayGoneError("the gateway went away"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        self.usable = self.usable and self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._answer.set_result(Answer(self._parser.get_status_code(), self._headers, body))
        elif self._answer is None:
            self._transport.abort()  # it speaks without being asked
