"""What routing knows of one replica, whatever it speaks."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from sizewise.core.routing import Slot
from sizewise.gateway.exchange import Exchange

if TYPE_CHECKING:
    from sizewise.gateway.model import Model


class Replica:
    """Requests at it, and whether it may have more. Subclasses speak to it."""

    def __init__(self, replica_id: str, *, version: str, max_outstanding: int) -> None:
        self.replica_id = replica_id
        self.version = version
        self.max_outstanding = max(1, max_outstanding)
        self.model: Model | None = None
        self.pending: dict[int, Exchange] = {}
        """By number, oldest first."""
        self.number = 0
        self.connected = False
        self.congested = False
        """It takes our bytes slower than we have them."""
        self.reserved = False
        """For a request that is to be alone."""
        self.slot = Slot(replica_id, self.max_outstanding, self)
        self.leaving = False
        """Finishes what it has, gets nothing new."""
        self.removed = False
        """No longer in the routes; closed once nothing is pending."""
        self.busy_s = 0.0
        self.busy_since_s = 0.0
        self.idle_since_s = monotonic()
        self.mute_since_s = 0.0
        """When it was sent the first request that expired there and that no answer, to anything, followed; 0: none."""
        self._waiters: list[asyncio.Future[None]] = []

    # What a subclass does -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to reach it; ``Model.replica_up`` follows."""
        raise NotImplementedError

    def poke(self) -> None:
        """It was said to be ready (again): try now, not later."""

    def send(self, x: Exchange, now_s: float) -> None:
        raise NotImplementedError

    def cancel(self, x: Exchange) -> None:
        """Forget one of ``pending``; no answer is wanted any more."""
        raise NotImplementedError

    def gave_up_on(self, x: Exchange) -> None:
        """A request expired while it was here. A subclass that can asks whether the replica still lives."""

    def close(self) -> None:
        """Nothing is pending and nothing will be."""
        raise NotImplementedError

    # What all share -------------------------------------------------------------------------------------------

    @property
    def routable(self) -> bool:
        return self.connected and not self.leaving

    def update_room(self) -> None:
        self.slot.max_outstanding = 0 if self.congested or self.reserved else self.max_outstanding

    def take(self, x: Exchange, now_s: float) -> int:
        """Note that it has this request now; the number it goes by."""
        if not self.pending:
            self.busy_since_s = now_s
        self.number = number = self.number + 1
        self.pending[number] = x
        x.number = number
        x.replica = self
        x.sent_s = now_s
        return number

    def release(self, number: int) -> Exchange | None:
        """It no longer has this request; None when it had been taken away before."""
        x = self.pending.pop(number, None)
        if x is not None:
            x.replica = None
            if x.model is not None:
                x.model.routing.done(self.slot)
        return x

    def release_all(self) -> list[Exchange]:
        return [x for number in tuple(self.pending) if (x := self.release(number)) is not None]

    def became_idle(self, now_s: float) -> None:
        """The last pending request has gone."""
        self.busy_s += now_s - self.busy_since_s
        self.idle_since_s = now_s
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        if self.removed:
            self.close()

    async def drained(self, timeout_s: float) -> int:
        """Wait until nothing is pending; the number left when the time is over."""
        if self.pending:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await asyncio.wait((waiter,), timeout=timeout_s)
        return len(self.pending)

    def figures(self, now_s: float) -> dict[str, float | int]:
        """For the controller: what it has, and how long it has worked and idled."""
        working_s = now_s - self.busy_since_s if self.pending else 0.0
        return {
            "outstanding": len(self.pending),
            "idle_s": 0.0 if self.pending else now_s - self.idle_since_s,
            "busy_s": self.busy_s + working_s,
            "mute_s": now_s - self.mute_since_s if self.mute_since_s else 0.0,
        }
