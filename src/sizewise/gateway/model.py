"""Requests of one model: sent to a replica at once, waiting for one, or held while the model wakes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING

from sizewise.core.admission import Admission, Shed
from sizewise.core.routing import Routing
from sizewise.gateway.coldcheck import ColdCheck
from sizewise.gateway.exchange import Exchange
from sizewise.gateway.replica import Replica
from sizewise.gateway.traffic import Traffic
from sizewise.protocols.backend import ModelRoute, ModelTraffic

if TYPE_CHECKING:
    from sizewise.gateway.gateway import Gateway

log = logging.getLogger(__name__)

SETTLE_S = 0.1
"""Between a replica's death and the second try of what it had: replicas that are killed together die apart by as much
on a busy machine, and a request must not be blamed for the death of one that was dying already."""
COLD_EVERY_S = 1.0
"""A cold model is announced at most so often, however many requests wait for it."""


class Model:
    """One entry of the routes, and everything under way for it."""

    def __init__(self, route: ModelRoute, gateway: Gateway) -> None:
        self.gateway = gateway
        self.name = route.model
        self.traffic = Traffic()
        self.replicas: set[Replica] = set()
        """All attached, those that leave or cannot be reached included."""
        self.routing = Routing()
        """Those that requests may go to."""
        self.queue: deque[Exchange] = deque()
        self.suspects: deque[Exchange] = deque()
        """Unanswered when a replica died: each is tried once more, alone."""
        self.settle_s = SETTLE_S
        self.settling = 0
        """Deaths so recent that nothing is tried again yet."""
        self.reserved: Replica | None = None
        """Kept free of other requests for a suspect."""
        self.admission = Admission(
            max_queue=route.max_queue, slo_s=route.slo_s, service_s=route.service_s, timeout_s=route.timeout_s
        )
        self.set_route(route)

    def set_route(self, route: ModelRoute) -> None:
        self.route = route
        self.slo_s = math.inf if route.slo_s is None else route.slo_s
        admission = self.admission
        # What it has learned about the model's speed stays
        admission.max_queue, admission.slo_s, admission.timeout_s = route.max_queue, route.slo_s, route.timeout_s
        self.cold_check = ColdCheck(route)
        self.last_cold_s = -math.inf
        self.find_ready()
        if route.refuse is not None and not self.routing.slots:
            for x in self._take_waiting():
                self._shed(x, 503, route.refuse)

    # -- the hot path -------------------------------------------------------------------------------------------

    def submit(self, x: Exchange) -> None:
        """Take a complete request."""
        traffic, routing, queue = self.traffic, self.routing, self.queue
        if not routing.slots and self._refused_cold(x):
            return
        traffic.arrivals += 1
        traffic.last_arrival_s = x.arrived_s
        if not routing.slots:
            self._submit_cold(x)
            return
        queued, outstanding = len(queue), routing.outstanding
        shed = self.admission.check(queued, outstanding, len(routing.slots))
        if shed is not None:
            self._overloaded(x, shed)
            return
        x.ahead = ahead = queued + outstanding
        x.expected_s = self.admission.expected_s(ahead)
        if not x.deadline_s:
            x.deadline_s = x.arrived_s + self.route.timeout_s
        if not queued and (slot := routing.take()) is not None:
            slot.owner.send(x, x.arrived_s)  # type: ignore[attr-defined]  # the core does not know what owns a slot
        else:
            x.queued = True
            queue.append(x)

    def settle(self, x: Exchange, status: int, now_s: float, *, compute_s: float = 0.0) -> None:
        """The answer of a replica has begun, after a call of the model that took ``compute_s``."""
        latency_s = now_s - x.arrived_s
        self.traffic.settle(status, latency_s, self.slo_s, compute_s=compute_s)
        if x.ahead >= 0:
            self.admission.done(x.ahead, x.expected_s, latency_s)

    def pump(self, now_s: float) -> None:
        """Send what waits to replicas that have room."""
        if self.suspects or self.reserved is not None:
            self._pump_suspects(now_s)
        queue = self.queue
        while queue and (slot := self.routing.take()) is not None:
            x = queue.popleft()
            x.queued = False
            if x.deadline_s <= now_s:
                self.routing.done(slot)
                self._expired(x, now_s)
            else:
                slot.owner.send(x, now_s)  # type: ignore[attr-defined]

    def report(self) -> ModelTraffic:
        """What the controller reads."""
        waiting = self.waiting
        held = 0 if self.routing.slots else waiting
        return self.traffic.report(self.name, queued=waiting, in_flight=self.in_flight, held=held)

    # -- waiting ------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        return len(self.queue) + len(self.suspects)

    @property
    def in_flight(self) -> int:
        return sum(len(replica.pending) for replica in self.replicas)

    def _refused_cold(self, x: Exchange) -> bool:
        """A request that can have no answer is no demand: it counts as an error of its client and wakes nothing."""
        problem = None if self.route.refuse is not None else self.cold_check.problem(x)
        if problem is None:
            return False
        self.traffic.client_errors += 1
        x.fail(*problem)
        return True

    def _submit_cold(self, x: Exchange) -> None:
        """Hold it until the model has woken, if that is worth while."""
        route = self.route
        if route.refuse is not None:
            self._shed(x, 503, route.refuse)
        else:
            self._announce_cold(x.arrived_s)
            shed = self.admission.check(self.waiting, 0, 0)
            if shed is not None:
                self._overloaded(x, shed)
            elif route.hold_s <= 0:
                self._shed(x, 503, f"model {self.name!r} is waking: try again later")
            else:
                self.traffic.cold_held += 1
                x.hold_until_s = x.arrived_s + route.hold_s
                x.queued = True
                self.queue.append(x)

    def _overloaded(self, x: Exchange, shed: Shed) -> None:
        if shed.status == 429:
            text = f"model {self.name!r} has {self.waiting} requests waiting, which is its limit: try again later"
        else:
            ahead = self.waiting + self.routing.outstanding
            text = (
                f"model {self.name!r} has {ahead} requests before this one: its answer would be late: try again later"
            )
        self._shed(x, shed.status, text, retry_after_s=shed.retry_after_s)

    def _announce_cold(self, now_s: float) -> None:
        if now_s - self.last_cold_s >= COLD_EVERY_S:
            self.last_cold_s = now_s
            self.gateway.publish({"event": "cold", "model": self.name})

    def forget(self, x: Exchange) -> None:
        """The client has gone. Nobody else notices."""
        if x.replica is not None:
            x.replica.cancel(x)
            self.traffic.cancelled += 1
            self.pump(monotonic())
        elif x.queued:
            x.queued = False
            (self.suspects if x.deaths else self.queue).remove(x)
            self.traffic.cancelled += 1

    def sweep(self, now_s: float) -> None:
        """Ten times a second: what has waited too long?"""
        if self.waiting:
            if not self.routing.slots:
                self._announce_cold(now_s)
            for waiting in (self.queue, self.suspects):
                for x in [x for x in waiting if _overdue(x, now_s)]:
                    waiting.remove(x)
                    x.queued = False
                    self._expired(x, now_s)
        for replica in self.replicas:
            if replica.pending:
                for x in [x for x in replica.pending.values() if x.deadline_s <= now_s]:
                    replica.cancel(x)
                    replica.gave_up_on(x)
                    self._expired(x, now_s, at_replica=True)

    def _expired(self, x: Exchange, now_s: float, *, at_replica: bool = False) -> None:
        waited = f"after {now_s - x.arrived_s:.1f} s"
        if at_replica:
            self.traffic.errors += 1
            x.fail(504, f"model {self.name!r} did not answer in time: given up {waited}")
        elif x.deadline_s and x.deadline_s <= now_s:
            self.traffic.shed += 1
            x.fail(504, f"no replica of model {self.name!r} was free in time: given up {waited}")
        else:
            self._shed(x, 503, f"model {self.name!r} did not wake in time: given up {waited}")

    def _shed(self, x: Exchange, status: int, text: str, *, retry_after_s: float = 1.0) -> None:
        self.traffic.shed += 1
        x.fail(status, text, retry_after_s=retry_after_s)

    def _take_waiting(self) -> Iterator[Exchange]:
        for waiting in (self.suspects, self.queue):
            while waiting:
                x = waiting.popleft()
                x.queued = False
                yield x

    def withdraw(self) -> None:
        """The model is gone from the routes."""
        for x in self._take_waiting():
            self.traffic.errors += 1
            x.fail(404, f"model {self.name!r} was withdrawn while the request waited")
        for replica in tuple(self.replicas):
            self.detach(replica)

    # -- replicas -----------------------------------------------------------------------------------------------

    def attach(self, replica: Replica) -> None:
        replica.model = self
        self.replicas.add(replica)
        replica.start()

    def detach(self, replica: Replica) -> None:
        """No new requests; what it has is still answered."""
        replica.leaving = replica.removed = True
        self.find_ready()
        if not replica.pending:
            self.replicas.discard(replica)
            replica.close()

    def find_ready(self) -> None:
        """Requests go to replicas of the published version only. Idempotent; called whenever one may have changed."""
        routing = self.routing
        was_cold = not routing.slots
        wanted = {r.replica_id: r for r in self.replicas if r.routable and r.version == self.route.version}
        for slot in tuple(routing.slots):
            if slot.replica_id not in wanted or slot is not wanted[slot.replica_id].slot:
                routing.remove(slot.replica_id)
        known = {slot.replica_id for slot in routing.slots}
        for replica_id, replica in wanted.items():
            if replica_id not in known:
                routing.add(replica.slot)
        if self.reserved is not None and self.reserved not in wanted.values():
            self._reserve(None)
        self._restart_clocks(was_cold=was_cold)
        if routing.slots:
            self.pump(monotonic())
        self.gateway.readiness_changed(self.name)

    def _restart_clocks(self, *, was_cold: bool) -> None:
        """Between cold and ready, each waiting request changes the clock it is judged by."""
        now_s = monotonic()
        for x in (*self.queue, *self.suspects) if self.waiting else ():
            if self.routing.slots and not x.deadline_s:
                x.deadline_s = now_s + self.route.timeout_s
            elif not self.routing.slots and not was_cold:
                self._hold_again(x, now_s)

    def _hold_again(self, x: Exchange, now_s: float) -> None:
        """A deadline that the client did not name begins anew when the model wakes."""
        x.hold_until_s = now_s + self.route.hold_s
        x.ahead = -1
        if not x.own_deadline:
            x.deadline_s = 0.0

    # -- deaths -------------------------------------------------------------------------------------------------

    def replica_lost(self, replica: Replica, lost: list[Exchange]) -> None:
        """Its connection broke with these unanswered."""
        if replica.removed:
            self.replicas.discard(replica)
        now_s = monotonic()
        for x in lost:
            x.replica = None
            x.deaths += 1
            if x.deaths > 1:
                self._poisoned(x)
            else:
                x.queued = True
                self._hold_again(x, now_s)
                self.suspects.append(x)
        if lost and self.settle_s > 0:
            self.settling += 1
            asyncio.get_running_loop().call_later(self.settle_s, self._settled)
        self._look_again(now_s)

    def _settled(self) -> None:
        self.settling -= 1
        self.pump(monotonic())

    def take_back(self, x: Exchange) -> None:
        """A replica could not be reached with it: first in line for the next."""
        now_s = monotonic()
        x.queued = True
        self._hold_again(x, now_s)
        (self.suspects if x.deaths else self.queue).appendleft(x)
        self._look_again(now_s)

    def _look_again(self, now_s: float) -> None:
        self.find_ready()
        if self.waiting and not self.routing.slots:
            self._announce_cold(now_s)

    def _pump_suspects(self, now_s: float) -> None:
        """One at a time, at a replica that has nothing else, so that a killer takes nobody along."""
        if self.reserved is not None and not self.reserved.pending:
            self._reserve(None)
        while self.suspects and self.reserved is None and not self.settling:
            slot = self.routing.take_idle()
            if slot is None:
                # Nothing new for the least busy one: it will be idle soon
                owners = [slot.owner for slot in self.routing.slots if isinstance(slot.owner, Replica)]
                self._reserve(min(owners, key=lambda owner: len(owner.pending), default=None))
                return
            x = self.suspects.popleft()
            x.queued = False
            if x.deadline_s <= now_s:
                self.routing.done(slot)
                self._expired(x, now_s)
                continue
            assert isinstance(slot.owner, Replica)
            self._reserve(slot.owner)
            slot.owner.send(x, now_s)

    def _reserve(self, replica: Replica | None) -> None:
        for one, reserved in ((self.reserved, False), (replica, True)):
            if one is not None:
                one.reserved = reserved
                one.update_room()
        self.reserved = replica

    def _poisoned(self, x: Exchange) -> None:
        self.traffic.errors += 1
        name = next((value for key, value in x.headers if key.lower() == b"x-request-id"), b"").decode("latin-1")
        digest = hashlib.sha256(x.joined()).hexdigest()[:12]
        label = f"{name or 'without X-Request-Id'} ({x.body_bytes} bytes, SHA-256 {digest}...)"
        text = f"request {label} ended two replicas of model {self.name!r}: it is not tried again"
        log.error("%s", text)
        self.gateway.publish({"event": "poison", "model": self.name, "detail": text})
        x.fail(500, text)


def _overdue(x: Exchange, now_s: float) -> bool:
    """Each has one clock running: its deadline, or how long it may be held."""
    return x.deadline_s <= now_s if x.deadline_s else x.hold_until_s <= now_s
