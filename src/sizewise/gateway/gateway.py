"""Everything one gateway process has: models, replicas, connections, and the clock that looks after them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sizewise.gateway.answers import DATES
from sizewise.gateway.api import Api
from sizewise.gateway.connection import Connection
from sizewise.gateway.exchange import Exchange
from sizewise.gateway.head import Access
from sizewise.gateway.inline import Inline, InlineReplica
from sizewise.gateway.limits import Limits
from sizewise.gateway.link import FrameReplica
from sizewise.gateway.model import Model
from sizewise.gateway.patience import look
from sizewise.gateway.proxy import PortReplica
from sizewise.gateway.replica import Replica
from sizewise.gateway.routes import ReplicaRoute, model_route, replica_route
from sizewise.protocols.certificates import Certificate
from sizewise.protocols.frames import DEFAULT_MAX_BODY_BYTES, Encoding
from sizewise.system.memory import give_back_memory, rss_anon_bytes

log = logging.getLogger(__name__)

TICK_S = 0.1
TICKS_PER_LOOK = 10
"""Connections, dates and key files are looked at once a second."""
GIVE_BACK_BYTES = 32 << 20

HotPath = tuple[Model, int, Callable[[Exchange], None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    run_dir: Path
    access: Access
    limits: Limits = field(default_factory=Limits)
    server_name: str = "sizewise"
    certificate: Certificate | None = None
    """None: the data port speaks plain HTTP."""


class Gateway:
    """One data plane front. Everything runs in one thread on one loop."""

    def __init__(self, config: Config, publish: Callable[[dict[str, Any]], None]) -> None:
        self.config = config
        self.limits = config.limits
        self.access = config.access
        self.publish = publish
        self.epoch = os.urandom(8).hex()
        self.models: dict[str, Model] = {}
        self.replicas: dict[str, Replica] = {}
        """As the routes have them."""
        self.routes: dict[str, ReplicaRoute] = {}
        self.inline = Inline()
        """Models in this process, told by the keeper."""
        self.hot_paths: dict[bytes, HotPath] = {}
        """Targets of the commonest requests, as they come over the wire."""
        self.connections: set[Connection] = set()
        self.stalled: set[Connection] = set()
        """Connections whose client reads slower than we write."""
        self.max_connections = config.limits.connections
        self.buffered_bytes = 0
        """Bodies, heads that are large or not complete, and answers that wait for their turn."""
        self.unsent_bytes = 0
        """Answers that slow readers have not taken; counted anew at every look, never too low in between."""
        self._settled_bytes = rss_anon_bytes()
        """What this process took when it last gave memory back."""
        self.draining = False
        self.routed = asyncio.Event()
        """Set by the first routes."""
        self.plan = Api(self).plan
        self._changed: dict[str, list[asyncio.Future[None]]] = {}
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None

    # -- routes -------------------------------------------------------------------------------------------------

    def set_routes(self, message: Mapping[str, Any]) -> None:
        """Take over what the keeper says is there. Idempotent."""
        models, replicas = message.get("models") or {}, message.get("replicas") or {}
        if message.get("reset"):
            models = {**dict.fromkeys(self.models), **models}
            replicas = {**dict.fromkeys(self.replicas), **replicas}
        # Withdrawals last: a replica that moves to a new version must not leave its model without any in between
        for name, value in models.items():
            if value is not None:
                self._set_model(name, value)
        for replica_id, value in replicas.items():
            if value is not None:
                self._set_replica(replica_id, replica_route(value))
        for replica_id in [r for r, value in replicas.items() if value is None]:
            self._remove_replica(replica_id)
        for name in [name for name, value in models.items() if value is None]:
            self._remove_model(name)
        if models:
            self._rebuild_paths()
        self.routed.set()

    def _set_model(self, name: str, value: Mapping[str, Any]) -> None:
        route = model_route(value)
        known = self.models.get(name)
        if known is None:
            self.models[name] = known = Model(route, self)
        elif known.route != route:
            known.set_route(route)
        known.last_cold_s = float("-inf")

    def _remove_model(self, name: str) -> None:
        model = self.models.pop(name, None)
        if model is not None:
            for replica_id in [r for r, route in self.routes.items() if route.model == name]:
                self._remove_replica(replica_id)
            model.withdraw()

    def _set_replica(self, replica_id: str, route: ReplicaRoute) -> None:
        known = self.replicas.get(replica_id)
        if known is not None and self.routes[replica_id] == route and known.model is self.models.get(route.model):
            self._welcome(known)
            return
        self._remove_replica(replica_id)
        model = self.models.get(route.model)
        if model is None:
            log.warning("replica %s is of model %s, which is not in the routes", replica_id, route.model)
            return
        replica = self._new_replica(replica_id, route)
        self.replicas[replica_id], self.routes[replica_id] = replica, route
        model.attach(replica)

    @staticmethod
    def _welcome(replica: Replica) -> None:
        """A replica we know is said to be ready: again, or still."""
        replica.poke()
        if replica.leaving and replica.model is not None:
            replica.leaving = False
            replica.model.find_ready()

    def _new_replica(self, replica_id: str, route: ReplicaRoute) -> Replica:
        most = route.max_outstanding
        if route.inline:
            return InlineReplica(replica_id, self.inline, version=route.version, max_outstanding=most)
        if route.port is not None:
            return PortReplica(replica_id, route.port, version=route.version, max_outstanding=most)
        # A socket is named within the run folder; joining leaves an absolute path as it is
        path = self.config.run_dir / (route.socket or f"r-{replica_id}.sock")
        body_bytes = max(self.limits.body_bytes, DEFAULT_MAX_BODY_BYTES)
        replica = FrameReplica(replica_id, path, version=route.version, max_outstanding=most, max_body_bytes=body_bytes)
        replica.peer_id = route.host or replica_id
        return replica

    def _remove_replica(self, replica_id: str) -> None:
        self.routes.pop(replica_id, None)
        replica = self.replicas.pop(replica_id, None)
        if replica is not None and replica.model is not None:
            replica.model.detach(replica)

    def _rebuild_paths(self) -> None:
        paths: dict[bytes, HotPath] = {}
        for name, model in self.models.items():
            if model.route.runtime == "command":
                continue
            v2 = (model, int(Encoding.V2_JSON), model.submit)
            paths[f"/v2/models/{name}/infer".encode()] = v2
            paths[f"/v2/models/{name}/versions/{model.route.version}/infer".encode()] = v2
            paths[f"/v1/models/{name}:predict".encode()] = (model, int(Encoding.V1_JSON), model.submit)
        self.hot_paths = paths

    def readiness_changed(self, name: str) -> None:
        for waiter in self._changed.pop(name, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, name: str, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for a condition that can only change with the replicas of a model."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not condition():
                    waiter = asyncio.get_running_loop().create_future()
                    self._changed.setdefault(name, []).append(waiter)
                    await waiter
        return condition()

    # -- requests -----------------------------------------------------------------------------------------------

    def abandon(self, x: Exchange) -> None:
        """The client of an unanswered request has gone."""
        x.gone = True
        if not x.dropping:
            self.buffered_bytes -= x.body_bytes
            x.dropping = True
        self.release(x)
        if x.model is not None:
            x.model.forget(x)
        x.body = b""

    def release(self, x: Exchange) -> None:
        """What was held besides its body has gone."""
        self.buffered_bytes -= x.held_bytes
        x.held_bytes = 0

    def stall(self, connection: Connection) -> None:
        """Its client reads slower than we write."""
        self.stalled.add(connection)
        self.unsent_bytes += connection.transport.get_write_buffer_size()
        if self.buffered_bytes + self.unsent_bytes > self.limits.buffered_bytes:
            self._shed_slow_readers()

    def unstall(self, connection: Connection) -> None:
        self.stalled.discard(connection)
        if not self.stalled:
            self.unsent_bytes = 0

    @property
    def in_flight(self) -> int:
        return sum(len(connection.queue) for connection in self.connections)

    async def drain(self, timeout_s: float) -> int:
        """Refuse new requests from now on; the number of old ones that are left when the time is over."""
        self.draining = True
        if self.in_flight:
            waiter = asyncio.get_running_loop().create_future()
            self._idle_waiters.append(waiter)
            await asyncio.wait((waiter,), timeout=timeout_s)
        return self.in_flight

    # -- the clock ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def stop(self) -> None:
        """Let go of everything at once."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in tuple(self.connections):
            connection.transport.close()
        for replica in tuple(self.replicas.values()):
            replica.close()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        now_s = time.monotonic()
        for model in tuple(self.models.values()):
            model.sweep(now_s)
        self._ticks += 1
        if self._ticks % TICKS_PER_LOOK == 0:
            DATES.renew(time.time())
            self.access.keys.refresh()
            if self.config.certificate is not None:
                self.config.certificate.refresh()
            self.look_after_clients(now_s)
            self._give_back()
        if self._idle_waiters and not self.in_flight:
            for waiter in self._idle_waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self._idle_waiters.clear()

    def _give_back(self) -> None:
        """What large bodies took stays with the allocator, and in the budget of the models, unless it is told."""
        if self.buffered_bytes < GIVE_BACK_BYTES <= rss_anon_bytes() - self._settled_bytes:
            give_back_memory()
            self._settled_bytes = rss_anon_bytes()

    def look_after_clients(self, now_s: float) -> None:
        """End connections whose time is over, and the largest of slow readers when memory is."""
        for connection in tuple(self.connections):
            look(connection, now_s)
        self._shed_slow_readers()

    def _shed_slow_readers(self) -> None:
        """Answers that nobody takes count as buffered; over the limit the largest go first."""
        unsent = {connection: connection.transport.get_write_buffer_size() for connection in self.stalled}
        self.unsent_bytes = sum(unsent.values())
        over_bytes = self.buffered_bytes + self.unsent_bytes - self.limits.buffered_bytes
        for connection in sorted(unsent, key=lambda one: unsent[one], reverse=True):
            if over_bytes <= 0:
                return
            over_bytes -= unsent[connection]
            self.unsent_bytes -= unsent[connection]
            connection.transport.abort()
