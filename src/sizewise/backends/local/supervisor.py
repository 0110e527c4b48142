"""Everything the keeper keeps: gateway, warm parents and replicas, held against the desired state."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from sizewise.backends.local.command import CommandRecord
from sizewise.backends.local.desired import Desired, DesiredFile
from sizewise.backends.local.disk import Disk
from sizewise.backends.local.gateway import END_GRACE_S, GatewayCommand, GatewayGuard
from sizewise.backends.local.grpc import SOCKET as GRPC_SOCKET
from sizewise.backends.local.grpc import GrpcCommand, GrpcGuard
from sizewise.backends.local.holding import HolderGuard
from sizewise.backends.local.host import Hosts
from sizewise.backends.local.listener import address_of, bind, take_over
from sizewise.backends.local.processes import reap_strays
from sizewise.backends.local.replica import OomWatch, Replica, Surroundings
from sizewise.backends.local.warm import Folders, WarmParents
from sizewise.core.fleet import ReplicaState
from sizewise.protocols.backend import (
    Action,
    CommandSpec,
    HoldWarm,
    ModelRoute,
    ProcessObserved,
    PublishModel,
    ReleaseWarm,
    ReplicaSpec,
    StartReplica,
    StopReplica,
    TakeForm,
    WithdrawModel,
)
from sizewise.protocols.certificates import TlsFiles
from sizewise.protocols.control import Message
from sizewise.protocols.serde import loads

log = logging.getLogger(__name__)

LEFTOVER_DRAIN_S = 30.0
REAP_AGAIN_S = 0.5
PRESTARTED = frozenset({"onnx"})
"""Runtimes whose warm parent starts when a model is published: the others weigh more and start when needed."""


class Supervisor:
    """``begin`` or ``adopt_to_end`` first; then ``apply``, ``drain``, ``shutdown``."""

    def __init__(
        self, folders: Folders, *, gateway_arguments: tuple[str, ...] = (), tls: TlsFiles | None = None
    ) -> None:
        self.folders = folders
        self.desired = Desired()
        self.replicas: dict[str, Replica] = {}
        """Those that exist, draining ones included."""
        self.warm = WarmParents(folders)
        command = GatewayCommand(
            run_dir=folders.run_dir, state_dir=folders.state_dir, arguments=gateway_arguments, tls=tls
        )
        self.holder = HolderGuard(folders)
        self.hosts = Hosts(folders, self.warm)
        self.gateway = GatewayGuard(command, self._gateway_changed)
        self.grpc = GrpcGuard(folders.run_dir / GRPC_SOCKET, lambda detail: log.info("gRPC front %s", detail))
        self.publish: Callable[[Message], None] = lambda _: None
        self.hurried = asyncio.Event()
        """Nobody waits for requests in flight any more."""
        self._around = Surroundings(
            folders=folders,
            gateway=self.gateway,
            warm=self.warm,
            disk=Disk(),
            hosts=self.hosts,
            oom=OomWatch(),
            changed=self._replica_changed,
        )
        self._file = DesiredFile(folders.run_dir / "desired.json")
        self._saving = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()

    async def begin(self, host: str, port: int, grpc: GrpcCommand | None = None) -> None:
        """Take over what runs, or begin anew. Raises UnavailableError when the port cannot be had."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        gateway_socket = self.folders.run_dir / "gateway.sock"
        listener = await asyncio.to_thread(take_over, gateway_socket) or bind(host, port)
        try:
            self.desired = await asyncio.to_thread(Desired.load, self._file.path)
        except ValueError:
            log.warning("desired.json cannot be read and is ignored: the controller will say what is to run")
        await self.gateway.adopt()
        await self.warm.adopt()
        await self.holder.adopt()
        await self._adopt_replicas()
        await self.grpc.adopt()
        await self.grpc.start(grpc)
        self.holder.hold(self.desired.warm)
        self.holder.start()
        self.gateway.start(listener)
        self._prestart()

    async def adopt_to_end(self) -> None:
        """Find everything that runs, in order to end it."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._reap)
        await self.gateway.adopt()
        await self.warm.adopt()
        await self.grpc.adopt()
        await self.holder.adopt()
        await self._adopt_replicas()

    def identity(self, version: str) -> dict[str, Any]:
        host, port = address_of(self.gateway.listener) if self.gateway.listener else ("", 0)
        state_dir = str(self.folders.state_dir)
        found = {"pid": os.getpid(), "host": host, "port": port, "version": version, "state_dir": state_dir}
        return {**found, "tls": self.gateway.tls, "grpc_port": self.grpc.port}

    def processes(self) -> list[ProcessObserved]:
        """All but the controller, without memory."""
        found = [ProcessObserved(role="keeper", pid=os.getpid())]
        if self.gateway.process is not None:
            found.append(ProcessObserved(role="gateway", pid=self.gateway.process.pid))
        if self.grpc.process is not None:
            found.append(ProcessObserved(role="grpc", pid=self.grpc.process.pid))
        for runtime, parent in self.warm.parents.items():
            if parent.process is not None and not parent.process.exited.is_set():
                found.append(ProcessObserved(role="warm", pid=parent.process.pid, model=runtime))
        if self.holder.process is not None:
            found.append(ProcessObserved(role="holder", pid=self.holder.process.pid))
        shared = [(host.pid, host.runtime) for host in self.hosts.observed()]
        found += [ProcessObserved(role="host", pid=pid, model=runtime) for pid, runtime in shared if pid is not None]
        for replica in self.replicas.values():
            if replica.body is not None and replica.body.pid is not None and not replica.spec.host:
                role = "replica" if replica.spec.command is None else "command"
                pid, spec = replica.body.pid, replica.spec
                found.append(ProcessObserved(role=role, pid=pid, model=spec.model, version=spec.version))
        return found

    async def apply(self, actions: Sequence[Action]) -> None:
        """Returns when the desired state is on disk and the gateway knows the models; replicas follow."""
        self.desired.check(actions)
        for action in actions:
            self.desired.apply(action)
        # Routes first, so that what is stopped has its successor
        await self._route(actions)
        for action in actions:
            self._act(action)
        await self._save()

    async def drain(self, model: str, drain_s: float) -> None:
        """Stop every replica of the model; returns when they are gone."""
        theirs = [replica for replica in self.replicas.values() if replica.spec.model == model]
        await self.apply([StopReplica(replica_id=each.spec.replica_id, drain_s=drain_s) for each in theirs])
        await asyncio.gather(*(replica.gone.wait() for replica in theirs))

    async def shutdown(self, drain_s: float) -> None:
        """End everything; ``drain_s`` bounds the wait for requests in flight, and ``hurried`` ends it."""
        if drain_s > 0:
            drained = asyncio.ensure_future(self.gateway.drain(drain_s))
            hurried = asyncio.ensure_future(self.hurried.wait())
            await asyncio.wait((drained, hurried), return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
            drained.cancel()
            drain_s = 0.0 if self.hurried.is_set() else drain_s
        self.desired = Desired()
        for replica in self.replicas.values():
            replica.stop(min(drain_s, 1.0))  # nothing is in flight any more, or its time is over
        await asyncio.gather(*(replica.gone.wait() for replica in tuple(self.replicas.values())))
        await self.warm.close()
        await self.grpc.close(grace_s=min(drain_s, END_GRACE_S))
        await self.holder.close()
        await self.gateway.close(grace_s=min(drain_s, END_GRACE_S))
        if self.gateway.listener is not None:
            self.gateway.listener.close()
        self._file.path.unlink(missing_ok=True)

    async def _route(self, actions: Sequence[Action]) -> None:
        routes: dict[str, ModelRoute | None] = {}
        for action in actions:
            if isinstance(action, PublishModel):
                routes[action.route.model] = action.route
            elif isinstance(action, WithdrawModel):
                routes[action.model] = None
        if routes:
            await self.gateway.set_models(routes)
            self._prestart()

    def _act(self, action: Action) -> None:
        if isinstance(action, StartReplica):
            self._start(action.spec)
        elif isinstance(action, StopReplica):
            if (replica := self.replicas.get(action.replica_id)) is not None:
                log.info("replica %s of %s is stopped: %s", action.replica_id, replica.spec.model, action.why)
                replica.stop(action.drain_s)
        elif isinstance(action, TakeForm):
            if (replica := self.replicas.get(action.replica_id)) is not None:
                replica.take_form(action.form)
        elif isinstance(action, HoldWarm | ReleaseWarm):
            self.holder.hold(self.desired.warm)

    def _start(self, spec: ReplicaSpec) -> None:
        if spec.replica_id not in self.replicas:
            replica = self.replicas[spec.replica_id] = Replica(spec, self._around)
            replica.start()

    def _prestart(self) -> None:
        for runtime in PRESTARTED & {route.runtime for route in self.desired.models.values()}:
            self._in_background(self.warm.of(runtime).prepare())

    def _in_background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _save(self) -> None:
        async with self._saving:
            # Encoded here, where nothing changes meanwhile; only the disk is waited for in a thread
            await asyncio.to_thread(self._file.write, self._file.text(self.desired))

    async def _adopt_replicas(self) -> None:
        """What is desired goes on under the same pid, or is started; what is not is stopped."""
        known = {**{spec.replica_id: spec for spec in self._found()}, **self.desired.draining, **self.desired.replicas}
        self.desired.draining.clear()
        routed = await self.gateway.routed()
        self.gateway.routes.models = dict(self.desired.models)
        replicas = [Replica(spec, self._around) for spec in known.values()]
        await asyncio.gather(*(replica.adopt() for replica in replicas))
        for replica in replicas:
            replica_id = replica.spec.replica_id
            if replica.body is not None and replica_id in routed and replica.spec.model:
                # It was ready: a gateway that is told everything anew keeps its connection
                self.gateway.routes.replicas[replica_id] = replica.route_of(replica.body)
            if replica_id not in self.desired.replicas:
                if replica.body is None:
                    continue
                replica.stop(LEFTOVER_DRAIN_S)
            self.replicas[replica_id] = replica
            replica.start()
        await self.hosts.tidy()

    def _found(self) -> list[ReplicaSpec]:
        """Who has left a trace in the run folder or with a warm parent."""
        run_dir = self.folders.run_dir
        ids = {path.name[2:-5]: "" for path in run_dir.glob("r-*.sock")}
        for runtime, parent in self.warm.parents.items():
            ids |= dict.fromkeys(parent.children, runtime)
        found = [ReplicaSpec(replica_id=each, model="", version="", runtime=ids[each]) for each in ids]
        for path in run_dir.glob("c-*.json"):
            with contextlib.suppress(OSError, ValueError):
                record = loads(CommandRecord, path.read_bytes())
                found.append(
                    ReplicaSpec(
                        replica_id=record.replica_id,
                        model=record.model,
                        version=record.version,
                        runtime="command",
                        command=CommandSpec(argv=()),
                    )
                )
        return found

    def _replica_changed(self, replica: Replica, detail: str) -> None:
        spec = replica.spec
        self.holder.pause(any(each.state is ReplicaState.LOADING for each in self.replicas.values()))
        known = self.desired.replicas.get(spec.replica_id)
        if known is not None and known.host and not spec.host:
            self.desired.replicas[spec.replica_id] = spec  # a later keeper must not put it among others again
            self._in_background(self._save())
        if replica.gone.is_set():
            self.replicas.pop(spec.replica_id, None)
            self.desired.draining.pop(spec.replica_id, None)
            if (again := self.desired.replicas.get(spec.replica_id)) is not None:
                self._start(again)  # ordered while the one before was still being stopped
        state = "gone" if replica.gone.is_set() else str(replica.state)
        event = {"event": "replica", "replica_id": spec.replica_id, "model": spec.model, "state": state}
        self.publish({**event, "detail": detail})

    def _gateway_changed(self, detail: str) -> None:
        self.publish({"event": "gateway", "detail": detail})

    def _reap(self) -> None:
        known = {each.pid for each in self.processes()}
        for parent in self.warm.parents.values():
            if parent.process is not None:
                known.add(parent.process.pid)
        if reap_strays(known):
            asyncio.get_running_loop().call_later(REAP_AGAIN_S, self._reap)
