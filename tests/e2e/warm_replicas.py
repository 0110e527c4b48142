"""A warm parent of one runtime for a test, its replicas, and connections to them that block."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from sizewise.protocols.frames import Decoder, Encoding, Flag, Frame, Kind, encode

WAIT_S = 30.0


def connect(path: Path) -> socket.socket:
    """To a socket that is about to appear."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        peer.settimeout(WAIT_S)
        try:
            peer.connect(str(path))
            return peer
        except OSError:
            peer.close()
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.002)  # nothing tells when a socket appears


class Control:
    """The control channel of a warm parent."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path)
        self._file = self._socket.makefile("rb")
        self.events: list[dict[str, Any]] = []

    def call(self, op: str, **fields: Any) -> dict[str, Any]:
        self._socket.sendall(orjson.dumps({"op": op, "n": 1, **fields}) + b"\n")
        while True:
            message = self._message()
            if "event" not in message:
                return message
            self.events.append(message)

    def exit_of(self, pid: int) -> int:
        """Status of a replica that is ending; what is told of others is passed over."""
        while (event := self.event())["pid"] != pid:
            pass
        return int(event["status"])

    def event(self) -> dict[str, Any]:
        return self.events.pop(0) if self.events else self._message()

    def _message(self) -> dict[str, Any]:
        line = self._file.readline()
        assert line, "the warm parent closed the connection"
        message: dict[str, Any] = orjson.loads(line)
        return message

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Client:
    """One connection to a replica."""

    def __init__(self, path: Path) -> None:
        self._socket = connect(path)
        self._decoder = Decoder()
        self._frames: list[Frame] = []
        self._numbers = iter(range(1, 1_000_000))
        self.hello = orjson.loads(self.next().body)

    def send(self, *frames: Frame) -> None:
        """All in one go, so that they wait together."""
        self._socket.sendall(b"".join(encode(frame) for frame in frames))

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def next(self) -> Frame:
        while not self._frames:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the replica closed the connection")
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def infer(self, target: str, body: dict[str, Any] | bytes, **fields: Any) -> Frame:
        """A request frame; its number is in the order of making."""
        text = body if isinstance(body, bytes) else orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        encoding = fields.pop("encoding", Encoding.V2_JSON)
        number = next(self._numbers)
        return Frame(Kind.INFER, number, text, target.encode(), encoding, **fields)

    def ask(self, frame: Frame) -> Frame:
        self.send(frame)
        answer = self.next()
        assert answer.request_id == frame.request_id
        return answer

    def answers(self, count: int) -> dict[int, Frame]:
        return {frame.request_id: frame for frame in (self.next() for _ in range(count))}

    def tell(self, kind: Kind, body: dict[str, Any] | None = None, target: str = "") -> Frame:
        """LOAD, UNLOAD, STATUS and their answer."""
        text = orjson.dumps(body) if body is not None else b""
        return self.ask(Frame(kind, next(self._numbers), text, target.encode()))

    def load(self, target: str, runtime: str, path: Path, entry: str, **fields: Any) -> Frame:
        request = {"target": target, "runtime": runtime, "path": str(path), "entry": entry, "threads": 1, **fields}
        return self.tell(Kind.LOAD, request)

    def stop(self) -> None:
        self.send(Frame(Kind.STOP, 0))

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Warm:
    """A warm parent as a process of its own."""

    def __init__(self, runtime: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sizewise-"))
        where = ["--run-dir", str(self.folder), "--state-dir", str(self.folder)]
        self.log = (self.folder / "warm.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sizewise.replica.warm", "--runtime", runtime, *where],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        self.path = self.folder / f"warm-{runtime}.sock"
        self.control = Control(self.path)
        self._pids: list[int] = []

    def fork(self, replica_id: str, model: str = "m") -> int:
        log = self.folder / f"{model}.log"
        answer = self.control.call("fork", replica_id=replica_id, model=model, log=str(log))
        assert answer["ok"], answer
        self._pids.append(answer["pid"])
        return int(answer["pid"])

    def client(self, replica_id: str) -> Client:
        return Client(self.folder / f"r-{replica_id}.sock")

    def close(self) -> None:
        self.control.close()
        self.process.kill()
        self.process.wait(WAIT_S)
        self.log.close()
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder)


@contextlib.contextmanager
def warm(runtime: str) -> Iterator[Warm]:
    parent = Warm(runtime)
    try:
        yield parent
    finally:
        parent.close()


__all__ = ["Client", "Control", "Flag", "Warm", "connect", "warm"]
