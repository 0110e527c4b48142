"""A replica inside the gateway's process: nothing of its own to start, watch or end."""

import asyncio
from typing import Any

from sizewise.backends.local.gateway import GatewayGuard
from sizewise.backends.local.link import LoadFailedError, load_request
from sizewise.backends.local.processes import Process
from sizewise.core.profiles import LoadTime
from sizewise.protocols.backend import ReplicaSpec
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.serde import from_jsonable

UP_TIMEOUT_S = 30.0


class InlineBody:
    """Loaded and dropped by word to the gateway. ``process`` is the gateway, which is not ours to end."""

    port: int | None = None
    route: dict[str, Any] = {"inline": True}  # noqa: RUF012  the same for all, and never written to
    pid: int | None = None
    """The gateway is counted as itself."""
    stage = ""
    settled = True
    blameless = False

    def __init__(self, spec: ReplicaSpec, gateway: GatewayGuard, process: Process) -> None:
        self.process = process
        self._spec = spec
        self._gateway = gateway

    @classmethod
    async def begin(cls, spec: ReplicaSpec, gateway: GatewayGuard) -> "InlineBody":
        """Raises UnavailableError when there is no gateway to be in."""
        try:
            await asyncio.wait_for(gateway.up.wait(), UP_TIMEOUT_S)
        except TimeoutError as error:
            raise UnavailableError("the gateway does not answer") from error
        if gateway.process is None:
            raise UnavailableError("the gateway has just ended")
        return cls(spec, gateway, gateway.process)

    async def make_ready(self) -> LoadTime | None:
        limit_s = self._spec.load_timeout_s
        answer = await self._gateway.load_inline(self._spec.replica_id, load_request(self._spec), limit_s)
        if "error" in answer:
            raise LoadFailedError(str(answer["error"]))
        return from_jsonable(LoadTime, answer["report"].get("load", {}))

    async def until_settled(self) -> None:
        """It has one session."""

    async def stop(self, grace_s: float) -> None:
        """Its route has gone, and with that the model."""

    async def exit_words(self) -> str | None:
        how = self.process.status or "status unknown"
        return f"the gateway ended with it inside ({how}): in a process of its own from now on"
