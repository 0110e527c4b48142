"""The keeper's connection to one replica: HELLO, LOAD, STOP in frames."""

import asyncio
import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson

from sizewise.protocols.backend import ReplicaSpec
from sizewise.protocols.control import peer_pid
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.frames import Decoder, Frame, FrameError, Kind, encode
from sizewise.protocols.serde import to_jsonable


@dataclass(eq=False)
class LoadFailedError(UnavailableError):
    """The replica said why it cannot serve the model, in one line."""


def load_request(spec: ReplicaSpec) -> dict[str, Any]:
    return {
        "target": f"{spec.model}@{spec.version}",
        "runtime": spec.runtime,
        "path": spec.path,
        "entry": spec.entry,
        "threads": spec.threads,
        "max_batch": spec.max_batch,
        "inputs": [to_jsonable(tensor) for tensor in spec.inputs],
        "outputs": [to_jsonable(tensor) for tensor in spec.outputs],
        "self_check": spec.self_check,
        "form": to_jsonable(spec.form),
    }


class ReplicaLink(asyncio.Protocol):
    """Frames to and from a replica, or a process that replicas share. Several calls may wait at once.

    Raises UnavailableError when the process goes away.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pid = 0
        """The process that listens, from the kernel: known also while it is too busy to say so. For the moment after
        a fork it is the parent, which was the last to call ``listen``."""
        self.greeted_at_s: float | None = None
        """When it said HELLO."""
        self._transport: asyncio.Transport | None = None
        self._decoder = Decoder()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._settled = asyncio.Event()
        self._news: dict[str, Any] | None = None
        self._broken: UnavailableError | None = None

    @classmethod
    async def connect(cls, path: Path) -> "ReplicaLink":
        try:
            _, link = await asyncio.get_running_loop().create_unix_connection(lambda: cls(path), str(path))
        except OSError as error:
            raise UnavailableError(f"nothing answers at {path.name}: {error.strerror or error}") from error
        return link

    async def load(self, spec: ReplicaSpec) -> dict[str, Any]:
        """The replica's load report. Raises LoadFailedError with its reason."""
        if self._broken is None:
            self._settled.clear()
        frame = await self._ask(Kind.LOAD, body=orjson.dumps(load_request(spec)))
        answer: dict[str, Any] = orjson.loads(frame.body)
        if frame.status != 200:
            lines = str(answer.get("error", "no reason given")).splitlines()
            raise LoadFailedError(lines[0] if lines else "no reason given")
        return answer

    async def settled(self) -> dict[str, Any]:
        """What the replica says once the model stays with the session that it has; call when it is loaded."""
        await self._settled.wait()
        if self._news is None:
            raise self._broken or UnavailableError("the replica closed its connection")
        return self._news

    async def unload(self, target: str) -> None:
        """Answer what was received for this model, then let go of it."""
        await self._ask(Kind.UNLOAD, target=target.encode())

    async def targets(self) -> list[str]:
        """What it holds."""
        frame = await self._ask(Kind.STATUS)
        return [str(model["target"]) for model in orjson.loads(frame.body)["models"]]

    def stop(self) -> None:
        """Answer what has been received, then exit."""
        self._send(Frame(kind=Kind.STOP, request_id=next(self._ids)))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.pid = peer_pid(transport)

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._decoder.feed(data)
        except FrameError as error:
            self._break(f"the replica's connection broke: {error}")
            return
        for frame in frames:
            if self.greeted_at_s is None:
                if frame.kind != Kind.HELLO:
                    self._break(f"the replica began with frame kind {frame.kind}, expected HELLO")
                    return
                self.greeted_at_s = time.monotonic()
            elif frame.kind == Kind.RESULT:
                self._answered(frame)
            elif frame.kind == Kind.SETTLED:
                self._news = orjson.loads(frame.body)
                self._settled.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._break("the replica closed its connection" if exc is None else f"the replica's connection broke: {exc}")

    def _answered(self, frame: Frame) -> None:
        waiting = self._waiting.pop(frame.request_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)

    async def _ask(self, kind: Kind, *, target: bytes = b"", body: bytes = b"") -> Frame:
        if self._broken is not None:
            raise self._broken
        request = Frame(kind=kind, request_id=next(self._ids), body=body, target=target)
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[request.request_id] = answer
        self._send(request)
        try:
            return await answer
        finally:
            self._waiting.pop(request.request_id, None)

    def _send(self, frame: Frame) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(frame))

    def _break(self, why: str) -> None:
        """Everybody who waits hears of it; the first reason stands."""
        if self._broken is None:
            self._broken = UnavailableError(why)
        self.close()
        self._settled.set()
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(self._broken)
