"""The local machine as a `Backend`: the keeper acts, the gateway counts, the kernel weighs."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from sizewise.backends.local import procfs
from sizewise.backends.local.connections import Reconnecting
from sizewise.backends.local.desired import actions_to_json
from sizewise.backends.local.launch import Hello, KeeperInfo, KeeperOptions, connect_keeper, ensure_keeper
from sizewise.backends.local.memory import MemoryReader, Watched, Weight
from sizewise.core.fleet import ReplicaState
from sizewise.protocols.backend import (
    Action,
    Event,
    EventKind,
    HostObserved,
    ModelTraffic,
    ProcessObserved,
    ReplicaObserved,
    Snapshot,
    WarmObserved,
)
from sizewise.protocols.clock import Clock, SystemClock
from sizewise.protocols.control import ControlClient, Message, run_dir
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.serde import from_jsonable

OBSERVE_TIMEOUT_S = 2.0
APPLY_TIMEOUT_S = 30.0
DRAIN_ANSWER_S = 30.0


class LocalBackend:
    """A `Backend` that starts a keeper when none lives, also when the keeper dies later.

    ``hello`` says who we are, and for how long the data plane is to outlive us.
    """

    name = "local"

    def __init__(self, options: KeeperOptions, *, hello: Hello | None = None, clock: Clock | None = None) -> None:
        self.info: KeeperInfo | None = None
        """Of the keeper that was connected to last."""
        self._options = options
        self._hello = hello or Hello(role="controller", pid=os.getpid())
        self._clock = clock or SystemClock()
        state_dir = options.state_dir.resolve()
        self._gateway_socket = run_dir(state_dir) / "gateway.sock"
        self._keeper = Reconnecting(self._connect_keeper)
        self._keeper_news = Reconnecting(self._connect_keeper_if_alive)
        self._gateway = Reconnecting(self._connect_gateway)
        self._memory = MemoryReader(state_dir)
        self._last_replicas: tuple[ReplicaObserved, ...] = ()
        self._last_processes: tuple[ProcessObserved, ...] = ()
        self._last_warm: tuple[WarmObserved, ...] = ()
        self._last_hosts: tuple[HostObserved, ...] = ()

    async def connect(self) -> KeeperInfo:
        """Have a keeper. Raises UnavailableError in one line when there cannot be one."""
        await self._keeper.client()
        if self.info is None:
            raise UnavailableError("the keeper did not introduce itself: end it and start again")
        return self.info

    async def observe(self) -> Snapshot:
        problems: list[str] = []
        keeper, gateway = await asyncio.gather(
            self._ask(self._keeper, "observe", problems), self._ask(self._gateway, "traffic", problems)
        )
        if keeper is not None:
            self._last_replicas = _all_of(ReplicaObserved, keeper["replicas"])
            self._last_processes = _all_of(ProcessObserved, keeper["processes"])
            self._last_warm = _all_of(WarmObserved, keeper["warm"])
            # A keeper of an earlier version knows of none
            self._last_hosts = _all_of(HostObserved, keeper.get("hosts", ()))
        # Without a keeper its last word stands, with a problem beside it: what it kept running goes on running
        controller = ProcessObserved(role="controller", pid=os.getpid())
        processes = (controller, *self._last_processes)
        watched = _watched(self._last_replicas, processes)
        weights = await asyncio.to_thread(self._memory.read, watched)
        busy = gateway["replicas"] if gateway else {}
        return Snapshot(
            at_s=self._clock.now_s(),
            replicas=tuple(_seen(replica, weights, busy) for replica in self._last_replicas),
            traffic=_all_of(ModelTraffic, gateway["models"]) if gateway else (),
            traffic_at_s=float(gateway["at_s"]) if gateway else None,
            gateway_epoch=str(gateway["epoch"]) if gateway else "",
            warm=self._last_warm,
            processes=tuple(
                replace(each, memory_bytes=weights[each.pid].private_bytes) for each in processes if each.pid in weights
            ),
            hosts=tuple(
                replace(host, memory_bytes=weights.get(host.pid or 0, Weight()).private_bytes)
                for host in self._last_hosts
            ),
            oom_kills=procfs.oom_kills(),
            problems=tuple(problems),
        )

    async def apply(self, actions: Sequence[Action]) -> None:
        if actions:
            message = {"op": "apply", "actions": actions_to_json(actions)}
            await self._keeper.call(message, timeout_s=APPLY_TIMEOUT_S)

    async def drain(self, model: str, drain_s: float) -> None:
        """Stop every replica of the model; returns when they are gone."""
        message = {"op": "drain", "model": model, "drain_s": drain_s}
        await self._keeper.call(message, timeout_s=drain_s + DRAIN_ANSWER_S)

    async def events(self) -> AsyncIterator[Event]:
        queue: asyncio.Queue[Event] = asyncio.Queue()

        async def forward(source: Reconnecting) -> None:
            async for message in source.events():
                if (event := event_of(message)) is not None:
                    queue.put_nowait(event)

        tasks = [asyncio.ensure_future(forward(source)) for source in (self._keeper_news, self._gateway)]
        try:
            while True:
                yield await queue.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """Let go of the connections; what runs goes on."""
        for connection in (self._keeper, self._keeper_news, self._gateway):
            connection.close()

    async def _connect_keeper(self) -> ControlClient:
        client, self.info = await ensure_keeper(self._options, self._hello)
        return client

    async def _connect_keeper_if_alive(self) -> ControlClient:
        client, _ = await connect_keeper(self._options.state_dir)
        return client

    async def _connect_gateway(self) -> ControlClient:
        return await ControlClient.connect(self._gateway_socket)

    @staticmethod
    async def _ask(peer: Reconnecting, op: str, problems: list[str]) -> Message | None:
        try:
            return await peer.call({"op": op}, timeout_s=OBSERVE_TIMEOUT_S)
        except UnavailableError as error:
            problems.append(f"{'gateway' if op == 'traffic' else 'keeper'}: {error}")
            return None


def _all_of(kind: Any, values: Sequence[Any]) -> Any:
    return tuple(from_jsonable(kind, value) for value in values)


def _watched(replicas: Sequence[ReplicaObserved], processes: Sequence[ProcessObserved]) -> list[Watched]:
    ready = {replica.pid for replica in replicas if replica.state is ReplicaState.READY}
    return [
        Watched(
            pid=each.pid,
            whole_tree=each.role == "command",
            replica=each.role in {"replica", "host"},
            ready=each.pid in ready,
        )
        for each in processes
    ]


def _seen(replica: ReplicaObserved, weights: dict[int, Weight], busy: dict[str, dict[str, Any]]) -> ReplicaObserved:
    """What the keeper says of a replica, with what the kernel and the gateway know of it."""
    weight = weights.get(replica.pid or 0, Weight())
    work = busy.get(replica.replica_id, {})
    if replica.host:
        # Nobody can tell the pages of a shared process apart: what its load added is what there is to say
        weight = Weight(private_bytes=replica.memory_bytes)
    return replace(
        replica,
        memory_bytes=weight.private_bytes,
        mapped_bytes=weight.mapped_bytes,
        peak_bytes=weight.peak_bytes,
        outstanding=int(work.get("outstanding", 0)),
        idle_s=float(work.get("idle_s", 0.0)),
        mute_s=float(work.get("mute_s", 0.0)),
    )


def event_of(message: Message) -> Event | None:
    """None for a kind this version does not know: an event is a hint, never the only news of something."""
    with contextlib.suppress(ValueError):
        detail = ": ".join(str(message[key]) for key in ("state", "op", "detail") if message.get(key))
        return Event(
            kind=EventKind(str(message.get("event"))),
            model=str(message.get("model") or ""),
            replica_id=str(message.get("replica_id") or ""),
            detail=detail,
        )
    return None
