"""Clients that ask without a pause and count what goes wrong."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

ROW = [1.0, 2.0, 3.0, 4.0]
EXPECTED = [2.0, 4.0, 6.0, 8.0]
PACE_S = 0.004
"""Between two requests of one client: a load that leaves the machine room for what is restarted."""


@dataclass(slots=True)
class Load:
    """Requests to one model over ``clients`` kept-alive connections, for as long as the block lasts."""

    port: int
    model: str
    clients: int = 4
    answered: int = 0
    errors: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: bool = False

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.ensure_future(self._ask_on()) for _ in range(self.clients)]
        await self.more(20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), 70)

    async def more(self, count: int) -> None:
        """Wait for as many further answers of each client."""
        target = self.answered + count * self.clients
        await self._until(lambda: self.answered >= target or bool(self.errors))

    async def _until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(30), self._news:
            await self._news.wait_for(done)

    async def _ask_on(self) -> None:
        while not self._stopping:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            with contextlib.closing(writer):
                try:
                    while not self._stopping:
                        await self._ask(reader, writer)
                        await asyncio.sleep(PACE_S)
                except (ConnectionError, asyncio.IncompleteReadError) as error:
                    self.errors.append(f"connection: {error!r}")
            async with self._news:
                self._news.notify_all()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began_s = time.monotonic()
        status, body = await infer(reader, writer, self.model)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
        if status != 200 or orjson.loads(body)["outputs"][0]["data"] != EXPECTED:
            self.errors.append(f"{status}: {body[:200]!r}")
        else:
            self.answered += 1
        async with self._news:
            self._news.notify_all()


async def infer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, model: str) -> tuple[int, bytes]:
    body = orjson.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}]})
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:"))
    return int(lines[0].split()[1]), await reader.readexactly(length)
