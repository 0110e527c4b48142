"""Triton's model repository extension. We start and stop nothing: we ask the controller and wait for the routes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson

from sizewise.gateway.exchange import Exchange

if TYPE_CHECKING:
    from sizewise.gateway.gateway import Gateway
    from sizewise.gateway.model import Model

WAIT_S = 120.0
"""How long load and unload may take; also bounded by the model's own ``hold_s`` where that is longer."""


class Repository:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._tasks: set[asyncio.Task[None]] = set()

    def index(self, x: Exchange) -> None:
        """All models, or with ``{"ready": true}`` those that can answer."""
        try:
            wanted = orjson.loads(x.joined()) if x.body_bytes else {}
        except orjson.JSONDecodeError as error:
            x.fail(400, f"the body is not JSON: {error}")
            return
        if not isinstance(wanted, dict):
            x.fail(400, 'the body must be a JSON object, such as {"ready": true}')
            return
        entries = [_entry(model) for _, model in sorted(self._gateway.models.items())]
        if wanted.get("ready"):
            entries = [entry for entry in entries if entry["state"] == "READY"]
        x.reply(entries)

    def change(self, model: Model, op: str, x: Exchange) -> None:
        """Ask for a load or unload; answered when it is done."""
        self._gateway.publish({"event": "repository", "model": model.name, "op": op})
        task = asyncio.ensure_future(self._finish(model, op, x))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, model: Model, op: str, x: Exchange) -> None:
        gateway, name = self._gateway, model.name
        wait_s = x.facts.timeout_s or max(WAIT_S, model.route.hold_s)

        def loaded() -> bool:
            return bool(model.routing.slots)

        def unloaded() -> bool:
            return not any(route.model == name for route in gateway.routes.values())

        if await gateway.until(name, loaded if op == "load" else unloaded, wait_s):
            x.reply({"name": name, op: True})
        else:
            why = model.route.refuse or f"not done within {wait_s:g} s"
            x.fail(503, f"{op} of model {name!r}: {why}", retry_after_s=5.0)


def _entry(model: Model) -> dict[str, Any]:
    """A cold model counts as ready, as everywhere."""
    state, reason = "READY", ""
    if not model.routing.slots:
        refuse = model.route.refuse
        state, reason = ("READY", "cold: it wakes with the next request") if refuse is None else ("UNAVAILABLE", refuse)
    return {"name": model.name, "version": model.route.version, "state": state, "reason": reason}
