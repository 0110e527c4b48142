"""What may be asked of the keeper over ``keeper.sock``."""

import asyncio
import logging
from typing import Any

from sizewise.backends.local.desired import actions_from_json
from sizewise.backends.local.lease import Lease
from sizewise.backends.local.supervisor import Supervisor
from sizewise.core.version import VERSION
from sizewise.protocols.control import Message
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.serde import to_jsonable

log = logging.getLogger(__name__)

LEASE_DRAIN_S = 30.0


class Operations:
    """``finished`` is set when everything but the keeper has ended."""

    def __init__(self, supervisor: Supervisor, finished: asyncio.Event) -> None:
        self._supervisor = supervisor
        self._finished = finished
        self._lease = Lease(lambda: self.end_soon(LEASE_DRAIN_S))
        self._ending: asyncio.Task[None] | None = None

    async def handle(self, message: Message) -> Message | None:
        op = str(message.get("op"))
        operation = getattr(self, f"op_{op}", None)
        if operation is None:
            raise UnavailableError(f"{op!r} is not an operation of the keeper")
        if self._ending is not None and op not in {"hello", "observe", "shutdown"}:
            raise UnavailableError("the keeper is shutting down: start it again")
        answer: Message | None = await operation(message)
        return answer

    async def op_hello(self, message: Message) -> Message:
        if message.get("role") == "controller" and "lease" in message:
            self._lease.give(message.get("pid"), message["lease"])
        return self._supervisor.identity(VERSION)

    async def op_apply(self, message: Message) -> None:
        await self._supervisor.apply(actions_from_json(message["actions"]))

    async def op_observe(self, _: Message) -> dict[str, Any]:
        supervisor = self._supervisor
        return {
            "replicas": [to_jsonable(replica.observed()) for replica in supervisor.replicas.values()],
            "warm": [to_jsonable(held) for held in supervisor.holder.observed()],
            "hosts": [to_jsonable(host) for host in supervisor.hosts.observed()],
            "processes": [to_jsonable(process) for process in supervisor.processes()],
            "gateway_pid": supervisor.gateway.process.pid if supervisor.gateway.process else None,
            "gateway_restarts": supervisor.gateway.restarts,
        }

    async def op_drain(self, message: Message) -> None:
        await self._supervisor.drain(str(message["model"]), float(message.get("drain_s", 30.0)))

    async def op_shutdown(self, message: Message) -> None:
        self.end_soon(float(message.get("drain_s", 30.0)))
        if self._ending is not None:
            await asyncio.shield(self._ending)
        # The answer is written before the loop comes round to whoever waits for this.
        asyncio.get_running_loop().call_soon(self._finished.set)

    def end_soon(self, drain_s: float) -> None:
        """Begin to end everything. A second call changes nothing, except that one without a drain ends the first's."""
        if drain_s <= 0:
            self._supervisor.hurried.set()
        if self._ending is None:
            log.info("ending everything, requests in flight have %g s", drain_s)
            self._lease.clear()
            self._ending = asyncio.ensure_future(self._end(drain_s))

    async def _end(self, drain_s: float) -> None:
        try:
            await self._supervisor.shutdown(drain_s)
        finally:
            asyncio.get_running_loop().call_soon(self._finished.set)
