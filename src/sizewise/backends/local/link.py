"""The keeper's connection to one replica: HELLO, LOAD, STOP in frames."""

import asyncio
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sizewise.protocols.backend import ReplicaSpec
from sizewise.protocols.control import peer_pid
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.frames import Decoder, Frame, FrameError, Kind, encode
from sizewise.protocols.serde import to_jsonable

READ_BYTES = 65536


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


class ReplicaLink:
    """Frames to and from a replica. Raises UnavailableError when it goes away."""

    def __init__(self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.path = path
        self.pid = peer_pid(writer)
        """The process that listens, from the kernel: known also while it is too busy to say so."""
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        self._ids = itertools.count(1)

    @classmethod
    async def connect(cls, path: Path) -> "ReplicaLink":
        try:
            reader, writer = await asyncio.open_unix_connection(str(path))
        except OSError as error:
            raise UnavailableError(f"nothing answers at {path.name}: {error.strerror or error}") from error
        return cls(path, reader, writer)

    async def greet(self) -> None:
        """Wait for HELLO, which a replica sends when it is not busy."""
        frame = await self._next()
        if frame.kind != Kind.HELLO:
            raise UnavailableError(f"the replica began with frame kind {frame.kind}, expected HELLO")

    async def load(self, spec: ReplicaSpec) -> dict[str, Any]:
        """The replica's load report. Raises LoadFailedError with its reason."""
        body = orjson.dumps(load_request(spec))
        request = Frame(kind=Kind.LOAD, request_id=next(self._ids), body=body)
        self._send(request)
        while True:
            frame = await self._next()
            if frame.kind == Kind.RESULT and frame.request_id == request.request_id:
                break
        answer: dict[str, Any] = orjson.loads(frame.body)
        if frame.status != 200:
            lines = str(answer.get("error", "no reason given")).splitlines()
            raise LoadFailedError(lines[0] if lines else "no reason given")
        return answer

    async def settled(self) -> dict[str, Any]:
        """What the replica says once the model stays with the session that it has; call when it is loaded."""
        while (frame := await self._next()).kind != Kind.SETTLED:
            pass
        news: dict[str, Any] = orjson.loads(frame.body)
        return news

    def stop(self) -> None:
        """Answer what has been received, then exit."""
        self._send(Frame(kind=Kind.STOP, request_id=next(self._ids)))

    def close(self) -> None:
        self._writer.close()

    def _send(self, frame: Frame) -> None:
        if not self._writer.is_closing():
            self._writer.write(encode(frame))

    async def _next(self) -> Frame:
        while not self._frames:
            try:
                data = await self._reader.read(READ_BYTES)
                if not data:
                    raise UnavailableError("the replica closed its connection")
                self._frames += self._decoder.feed(data)
            except (ConnectionError, FrameError) as error:
                raise UnavailableError(f"the replica's connection broke: {error}") from error
        return self._frames.pop(0)
