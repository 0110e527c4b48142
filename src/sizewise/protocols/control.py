"""Control channel between our own processes of one machine: JSON lines over a Unix socket.

A request is ``{"op": name, "n": number, ...}``, its answer ``{"n": number, "ok": true, ...}`` or ``{"n": number,
"ok": false, "error": text}``. A line with ``"event"`` is pushed to every connection that sent ``{"op":
"subscribe"}``. Sockets live in a folder that only the owner may enter; nothing here is reachable from a network.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from sizewise.protocols.errors import UnavailableError

MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_SOCKET_PATH_BYTES = 107
"""Linux' limit for the path of a Unix socket."""

SHORT_ROOT = Path("/tmp")  # noqa: S108 - made 0700, its owner is checked
"""Not the environment's temporary folder: every process must find the same place."""

PEER_CREDENTIALS = struct.Struct("iII")
"""pid, uid, gid as SO_PEERCRED gives them."""

Message = dict[str, Any]
Handler = Callable[[Message], Awaitable[Message | None]]


class ControlServer:
    """Answers operations and pushes events. ``handler`` gets the message and returns the answer's fields.

    A field ``descriptors`` is no part of the JSON: those file descriptors travel with the answer (SCM_RIGHTS).
    """

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._subscribers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=MAX_LINE_BYTES)
        self._path.chmod(0o600)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.close()
        for task in tuple(self._tasks):
            task.cancel()
        self._path.unlink(missing_ok=True)

    def publish(self, event: Message) -> None:
        """Push to all subscribers; one that does not read is dropped rather than waited for."""
        line = orjson.dumps(event) + b"\n"
        for writer in tuple(self._subscribers):
            if writer.transport.get_write_buffer_size() > MAX_LINE_BYTES:
                self._subscribers.discard(writer)
                writer.close()
            elif not writer.is_closing():
                writer.write(line)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                message: Message = orjson.loads(line)
                if message.get("op") == "subscribe":
                    self._subscribers.add(writer)
                    writer.write(orjson.dumps({"n": message.get("n"), "ok": True}) + b"\n")
                    continue
                # Each operation on its own, so that a slow one (drain) does not hold up the next.
                task = asyncio.ensure_future(self._answer(message, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (ConnectionError, ValueError, asyncio.IncompleteReadError):
            writer.close()
        finally:
            self._writers.discard(writer)
            self._subscribers.discard(writer)
            writer.close()

    async def _answer(self, message: Message, writer: asyncio.StreamWriter) -> None:
        try:
            answer = {"ok": True, **(await self._handler(message) or {})}
        except Exception as error:
            answer = {"ok": False, "error": str(error) or type(error).__name__}
        descriptors = answer.pop("descriptors", None)
        line = orjson.dumps({"n": message.get("n"), **answer}) + b"\n"
        if not writer.is_closing():
            with contextlib.suppress(ConnectionError):
                if descriptors is None:
                    writer.write(line)
                else:
                    _send_descriptors(writer, line, descriptors)
                await writer.drain()


class ControlClient:
    """One connection to a ControlServer. Calls may overlap. Raises UnavailableError when the peer is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._events: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task = asyncio.ensure_future(self._read())
        self.closed = asyncio.Event()

    @classmethod
    async def connect(cls, path: Path) -> "ControlClient":
        try:
            reader, writer = await asyncio.open_unix_connection(str(path), limit=MAX_LINE_BYTES)
        except OSError as error:
            raise UnavailableError(f"nothing answers at {path.name}: {error.strerror or error}") from error
        return cls(reader, writer)

    @property
    def peer_pid(self) -> int:
        """Process that listens on the other side, as the kernel recorded it."""
        return peer_pid(self._writer)

    async def call(self, op: str, *, timeout_s: float = 10.0, **fields: Any) -> Message:
        """The answer's fields. Raises UnavailableError: peer gone, too slow, or it answered with an error."""
        return await self.request({"op": op, **fields}, timeout_s=timeout_s)

    async def request(self, message: Message, *, timeout_s: float) -> Message:
        """``call`` for an operation that has a field of its own named ``timeout_s``."""
        op = message["op"]
        if self.closed.is_set():
            raise UnavailableError(f"{op}: the peer has gone")
        number = next(self._numbers)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._writer.write(orjson.dumps({**message, "n": number}) + b"\n")
        try:
            # Not wait_for, which in Python 3.11 loses a cancellation that comes together with the answer
            async with asyncio.timeout(timeout_s):
                answer = await future
        except TimeoutError as error:
            raise UnavailableError(f"{op}: no answer within {timeout_s:g} s") from error
        finally:
            self._waiting.pop(number, None)
        if not answer.get("ok"):
            raise UnavailableError(f"{op}: {answer.get('error')}")
        return answer

    async def events(self) -> AsyncIterator[Message]:
        """Subscribe and yield events until the peer goes away."""
        await self.call("subscribe")
        while (event := await self._events.get()) is not None:
            yield event

    def close(self) -> None:
        self._task.cancel()
        self._writer.close()
        self._end()

    def _end(self) -> None:
        self.closed.set()
        self._events.put_nowait(None)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(UnavailableError("the peer has gone"))

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionError, ValueError, asyncio.IncompleteReadError):
            while line := await self._reader.readline():
                message: Message = orjson.loads(line)
                if "event" in message:
                    self._events.put_nowait(message)
                    continue
                future = self._waiting.get(message.get("n", 0))
                if future is not None and not future.done():
                    future.set_result(message)
        self._writer.close()
        self._end()


def peer_pid(writer: asyncio.StreamWriter | asyncio.BaseTransport) -> int:
    """The process that was listening when this Unix socket connection was made; 0 when the kernel does not tell."""
    peer = writer.get_extra_info("socket")
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, PEER_CREDENTIALS.size)
    pid: int = PEER_CREDENTIALS.unpack(raw)[0]
    return pid


def _send_descriptors(writer: asyncio.StreamWriter, line: bytes, descriptors: list[int]) -> None:
    """SCM_RIGHTS with the first byte of the answer, past the transport, which cannot send any."""
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as peer:
        socket.send_fds(peer, [line], descriptors)


def run_dir(state_dir: Path) -> Path:
    """Where the sockets of a state directory live: ``run`` inside it, or a short private path when that is too long.

    Deterministic, so that every process and every later command finds the same place.
    """
    inside = state_dir / "run"
    if len(os.fsencode(inside)) + 48 <= MAX_SOCKET_PATH_BYTES:
        return inside
    digest = sha256(os.fsencode(state_dir)).hexdigest()[:12]
    return SHORT_ROOT / f"sizewise-{os.getuid()}-{digest}"


def make_run_dir(state_dir: Path) -> Path:
    """Create ``run_dir`` for its owner only. Raises UnavailableError when somebody else owns that path."""
    path = run_dir(state_dir)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.getuid():
        raise UnavailableError(f"{path} belongs to somebody else: choose another --state-dir")
    path.chmod(0o700)
    return path
