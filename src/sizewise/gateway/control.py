"""What the keeper and the controller may ask: ``gateway.sock``."""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from sizewise.gateway.gateway import Gateway
from sizewise.protocols.control import ControlServer, Message
from sizewise.protocols.errors import NotFoundError, UsageError

SOCKET = "gateway.sock"


class Control:
    """Operations of one gateway. The socket is open before the first routes; the data port only after them."""

    def __init__(self, run_dir: Path) -> None:
        self.server = ControlServer(run_dir / SOCKET, self._handle)
        self._gateway: Gateway | None = None
        self._listener: socket.socket | None = None
        self._operations: dict[str, Callable[[Gateway, Message], Awaitable[Message | None]]] = {
            "routes": self._routes,
            "drain_replica": self._drain_replica,
            "drain": self._drain,
            "traffic": self._traffic,
            "take_listener": self._take_listener,
            "load_inline": self._load_inline,
        }

    async def start(self, gateway: Gateway, listener: socket.socket) -> None:
        self._gateway, self._listener = gateway, listener
        await self.server.start()

    async def _handle(self, message: Message) -> Message | None:
        operation = self._operations.get(str(message.get("op")))
        if operation is None or self._gateway is None:
            raise UsageError(f"unknown operation {message.get('op')!r}: use {', '.join(self._operations)}")
        return await operation(self._gateway, message)

    async def _routes(self, gateway: Gateway, message: Message) -> None:
        gateway.set_routes(message)

    async def _drain_replica(self, gateway: Gateway, message: Message) -> Message:
        replica = gateway.replicas.get(message["replica_id"])
        if replica is None:
            return {"outstanding": 0}
        replica.leaving = True
        if replica.model is not None:
            replica.model.find_ready()
        return {"outstanding": await replica.drained(_timeout_s(message))}

    async def _drain(self, gateway: Gateway, message: Message) -> Message:
        return {"in_flight": await gateway.drain(_timeout_s(message))}

    async def _traffic(self, gateway: Gateway, _: Message) -> Message:
        now_s = time.monotonic()
        return {
            "epoch": gateway.epoch,
            "at_s": now_s,
            "models": [model.report() for model in gateway.models.values()],
            "connections": len(gateway.connections),
            "tls": gateway.config.certificate is not None,
            "replicas": {name: replica.figures(now_s) for name, replica in gateway.replicas.items()},
        }

    async def _load_inline(self, gateway: Gateway, message: Message) -> Message:
        try:
            report = await gateway.inline.load(message["replica_id"], orjson.dumps(message["load"]))
        except Exception as error:
            words = " ".join(str(error).split()) or type(error).__name__
            return {"error": words}
        return {"report": report}

    async def _take_listener(self, _: Gateway, __: Message) -> Message:
        if self._listener is None:
            raise NotFoundError("socket", "listener", "the gateway has stopped listening")
        return {"descriptors": [self._listener.fileno()]}


def _timeout_s(message: Message) -> float:
    # ``timeout_s_`` is how ControlClient.call can pass a field that shares the name of its own argument
    value: Any = message.get("timeout_s_", message.get("timeout_s", 30.0))
    return max(0.0, float(value))
