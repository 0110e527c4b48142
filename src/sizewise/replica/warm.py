"""The warm parent: imports one runtime, runs no model, and forks replicas that find it imported.

A plain loop over a selector. No event loop, no thread and no session of ours exists in this process, because a forked
child would inherit them broken (XGBoost after OpenMP use in the parent hangs in the child).
"""

import argparse
import gc
import os
import selectors
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from setproctitle import setproctitle

from sizewise.protocols.control import MAX_LINE_BYTES
from sizewise.protocols.errors import SizewiseError, UsageError
from sizewise.replica import program  # noqa: F401  imported here so that children need not
from sizewise.replica.child import Order, fork
from sizewise.replica.sockets import bind
from sizewise.runtimes import RUNTIMES, get_runtime

RECEIVE_BYTES = 65536
MAX_EXITS = 10_000
"""Exits kept for a keeper that does not come; the oldest go first."""
BACKLOG = 16


@dataclass(eq=False, slots=True)
class Peer:
    """A connection of the keeper."""

    socket: socket.socket
    buffer: bytearray
    subscribed: bool = False


@dataclass(eq=False, slots=True)
class Child:
    order: Order
    pid: int
    pidfd: int


class WarmParent:
    """Serves the control channel of one runtime until ``stop``."""

    def __init__(self, *, runtime: str, run_dir: Path, state_dir: Path) -> None:
        self._runtime = runtime
        self._run_dir = run_dir
        self._state_dir = state_dir
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, Child] = {}
        self._exits: dict[int, dict[str, Any]] = {}
        self._peers: set[Peer] = set()
        self._path = run_dir / f"warm-{runtime}.sock"
        self._running = True

    def serve(self) -> None:
        get_runtime(self._runtime).prepare()
        gc.collect()
        listener = bind(self._path)
        listener.listen(BACKLOG)
        self._selector.register(listener, selectors.EVENT_READ, None)
        while self._running:
            for key, _ in self._selector.select():
                if isinstance(key.data, Child):
                    self._reap(key.data)
                elif isinstance(key.data, Peer):
                    self._read(key.data)
                else:
                    self._accept(listener)
        self._path.unlink(missing_ok=True)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # it went before it was met
            return
        connection.setblocking(False)
        peer = Peer(connection, bytearray())
        self._peers.add(peer)
        self._selector.register(connection, selectors.EVENT_READ, peer)

    def _read(self, peer: Peer) -> None:
        try:
            data = peer.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or len(peer.buffer) + len(data) > MAX_LINE_BYTES:
            self._drop(peer)
            return
        peer.buffer += data
        while (end := peer.buffer.find(b"\n")) >= 0:
            line = bytes(peer.buffer[:end])
            del peer.buffer[: end + 1]
            self._answer(peer, line)

    def _answer(self, peer: Peer, line: bytes) -> None:
        try:
            message: dict[str, Any] = orjson.loads(line)
        except orjson.JSONDecodeError:
            self._drop(peer)
            return
        try:
            answer = {"ok": True, **self._do(peer, message)}
        except Exception as error:
            answer = {"ok": False, "error": str(error) or type(error).__name__}
        self._write(peer, {"n": message.get("n"), **answer})

    def _do(self, peer: Peer, message: dict[str, Any]) -> dict[str, Any]:
        match message.get("op"):
            case "fork":
                return {"pid": self._fork(message)}
            case "list":
                return {**self._listed(), "exits": list(self._exits.values())}
            case "ack":
                self._exits.pop(int(message["pid"]), None)
            case "subscribe":
                peer.subscribed = True
            case "stop":
                self._running = False
            case op:
                raise UsageError(f"unknown operation {op!r}: fork, list, ack, subscribe and stop are known")
        return {}

    def _listed(self) -> dict[str, dict[str, int]]:
        known: dict[str, dict[str, int]] = {"children": {}, "hosts": {}}
        for child in self._children.values():
            known["hosts" if child.order.shared else "children"][child.order.replica_id] = child.pid
        return known

    def _fork(self, message: dict[str, Any]) -> int:
        """Pid of the replica; of the one that lives already where this id has one."""
        order = Order(
            replica_id=str(message["replica_id"]),
            model=str(message["model"]),
            log=Path(message["log"]),
            run_dir=self._run_dir,
            state_dir=self._state_dir,
            shared=bool(message.get("shared", False)),
        )
        for child in tuple(self._children.values()):
            if child.order.replica_id == order.replica_id and not self._reap(child):
                return child.pid
        inherited = [key.fd for key in self._selector.get_map().values()]
        pid = fork(order, close=[self._selector_fd(), *inherited])
        child = Child(order, pid, os.pidfd_open(pid))
        self._children[pid] = child
        self._selector.register(child.pidfd, selectors.EVENT_READ, child)
        return pid

    def _selector_fd(self) -> int:
        fileno = getattr(self._selector, "fileno", None)
        return fileno() if fileno is not None else -1

    def _reap(self, child: Child) -> bool:
        """Whether it has ended; then everybody who subscribed hears of it."""
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid == 0:
            return False
        self._selector.unregister(child.pidfd)
        os.close(child.pidfd)
        del self._children[pid]
        # One that was killed leaves its socket behind
        child.order.socket_path.unlink(missing_ok=True)
        exit_ = {"replica_id": child.order.replica_id, "pid": pid, "status": status}
        self._exits[pid] = exit_
        while len(self._exits) > MAX_EXITS:
            self._exits.pop(next(iter(self._exits)))
        for peer in [peer for peer in self._peers if peer.subscribed]:
            self._write(peer, {"event": "exit", **exit_})
        return True

    def _write(self, peer: Peer, message: dict[str, Any]) -> None:
        """A peer that does not read is dropped: it asks for the list when it comes back."""
        line = orjson.dumps(message) + b"\n"
        try:
            if peer in self._peers and peer.socket.send(line) == len(line):
                return
        except OSError:
            pass
        self._drop(peer)

    def _drop(self, peer: Peer) -> None:
        if peer in self._peers:
            self._peers.discard(peer)
            self._selector.unregister(peer.socket)
            peer.socket.close()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sizewise.replica.warm")
    parser.add_argument("--runtime", required=True, choices=tuple(RUNTIMES))
    parser.add_argument("--run-dir", required=True, type=Path)
    parser.add_argument("--state-dir", required=True, type=Path)
    given = parser.parse_args(argv)
    setproctitle(f"sizewise warm {given.runtime} --state-dir {given.state_dir}")
    try:
        WarmParent(runtime=given.runtime, run_dir=given.run_dir, state_dir=given.state_dir).serve()
    except SizewiseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
