"""The life of one desired replica: start, load, serve, die, start again, until it is told to stop."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from sizewise.backends.local import procfs
from sizewise.backends.local.backoff import Backoff
from sizewise.backends.local.body import Body, ForkedBody
from sizewise.backends.local.command import CommandBody
from sizewise.backends.local.disk import Disk
from sizewise.backends.local.gateway import GatewayGuard, ReplicaRoute
from sizewise.backends.local.host import HostedBody, Hosts
from sizewise.backends.local.inline import InlineBody
from sizewise.backends.local.link import LoadFailedError
from sizewise.backends.local.waiting import first_of
from sizewise.backends.local.warm import Folders, WarmParents
from sizewise.core.fleet import ReplicaState
from sizewise.core.forms import Form
from sizewise.core.profiles import LoadTime
from sizewise.protocols.backend import ReplicaObserved, ReplicaSpec
from sizewise.protocols.errors import UnavailableError

log = logging.getLogger(__name__)

STOP_GRACE_S = 10.0
"""For a replica to answer what it has received, or a command to end after SIGTERM."""
EXIT_S = 0.3
"""A broken connection is seen a moment before the death that broke it."""


class OomWatch:
    """Whether the kernel ended something for want of memory since the last time somebody asked."""

    def __init__(self, count: Callable[[], int] = procfs.oom_kills) -> None:
        self._count = count
        self._seen = count()

    def explain(self, words: str | None) -> str | None:
        """``signal 9`` becomes ``out of memory`` when the kernel's count has risen."""
        now = self._count()
        risen, self._seen = now > self._seen, now
        return "out of memory" if risen and words == "signal 9" else words


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every replica of a keeper uses."""

    folders: Folders
    gateway: GatewayGuard
    warm: WarmParents
    hosts: Hosts
    oom: OomWatch
    disk: Disk
    changed: Callable[["Replica", str], None]


class Replica:
    """Keeps one replica running. ``gone`` is set when it was stopped and nothing of it is left."""

    def __init__(self, spec: ReplicaSpec, around: Surroundings) -> None:
        self.spec = spec
        self.state = ReplicaState.STARTING
        self.body: Body | None = None
        self.gone = asyncio.Event()
        self._around = around
        self._backoff = Backoff()
        self._culprit = False
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()
        """Told to stop, told of a form, or its process has ended."""
        self._hurry = asyncio.Event()
        self._drain_s = 0.0
        self._since_s = self._started_at_s = time.monotonic()
        self._ready_at_s: float | None = None
        self._load: LoadTime | None = None
        self._restarts = 0
        self._at_once = True
        self._ready_for_s = 0.0
        self._innocent = False
        """Its process was shared, and ended for somebody else's sake: it comes back at once."""
        self._last_exit: str | None = None
        self._last_exit_at_s: float | None = None
        self._task: asyncio.Task[None] | None = None

    async def adopt(self) -> bool:
        """Take over the process that runs under this id already; call before ``start``."""
        folders = self._around.folders
        gateway = self._around.gateway
        if self.spec.command is not None:
            self.body = CommandBody.adopt(self.spec, folders)
        elif self.spec.inline and gateway.process is not None and self.spec.replica_id in await gateway.routed():
            self.body = InlineBody(self.spec, gateway, gateway.process)
        elif self.spec.host:
            self.body = await self._around.hosts.adopt(self.spec)
        else:
            parent = self._around.warm.parent_of(self.spec.replica_id)
            self.body = await ForkedBody.adopt(self.spec, folders, parent)
        return self.body is not None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._live())

    def stop(self, drain_s: float) -> None:
        """Drain, then end; a second call may only shorten it. Progress shows in ``state`` and ``gone``."""
        self._drain_s = min(self._drain_s, drain_s) if self._stopping.is_set() else drain_s
        if self._stopping.is_set() and drain_s <= 0:
            self._hurry.set()
        self._stopping.set()
        self._news.set()

    def take_form(self, form: Form) -> None:
        """Have the process that runs answer from this form, and every later one."""
        if form != self.spec.form:
            self.spec = replace(self.spec, form=form)
            self._news.set()

    def observed(self) -> ReplicaObserved:
        body = self.body
        return ReplicaObserved(
            replica_id=self.spec.replica_id,
            model=self.spec.model,
            version=self.spec.version,
            state=self.state,
            pid=body.pid if body is not None else None,
            since_s=self._since_s,
            started_at_s=self._started_at_s,
            ready_at_s=self._ready_at_s,
            load=self._load,
            restarts=self._restarts,
            last_exit=self._last_exit,
            last_exit_at_s=self._last_exit_at_s,
            port=body.port if body is not None else None,
            stage=body.stage if body is not None else "",
            settled=body is None or body.settled,
            form=self.spec.form.key if self.spec.form is not None else "",
            memory_bytes=body.memory_bytes if isinstance(body, HostedBody) else 0,
            host=self.spec.host,
            culprit=self._culprit,
            replaces=self.spec.replaces,
        )

    def _enter(self, state: ReplicaState, detail: str = "") -> None:
        self.state, self._since_s = state, time.monotonic()
        self._ready_at_s = self._since_s if state is ReplicaState.READY else None
        self._around.changed(self, detail)

    async def _live(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    await first_of(self._begin(), self._stopping.wait())
                    if self.body is not None:
                        await self._serve(self.body)
                except Exception as error:  # whatever it was: the other replicas must not hear of it
                    await self._note_failure(error)
                await self._end()
                if self._innocent:
                    self._innocent = False
                elif not self._stopping.is_set():
                    await self._pause(self._backoff.next_s(ready_for_s=self._ready_for_s, at_once=self._at_once))
            await self._end()  # adopted in order to be stopped
        finally:
            self.gone.set()
            self._around.changed(self, "gone")

    async def _begin(self) -> None:
        if self.body is not None:
            return  # adopted
        self._started_at_s = time.monotonic()
        self._enter(ReplicaState.STARTING)
        gateway = self._around.gateway
        if self.spec.command is not None:
            self.body = CommandBody.start(self.spec, self._around.folders)
        elif self.spec.inline and self.spec.model not in gateway.died_with:
            self.body = await InlineBody.begin(self.spec, gateway)
        elif self.spec.host:
            self.body = await self._around.hosts.join(self.spec)
        else:
            parent = self._around.warm.of(self.spec.runtime)
            self.body = await ForkedBody.fork(self.spec, self._around.folders, parent)

    async def _serve(self, body: Body) -> None:
        """From started to dead or told to stop."""
        self._enter(ReplicaState.LOADING)
        await first_of(self._ready(body), body.process.exited.wait(), self._stopping.wait())
        if self.state is ReplicaState.READY and not body.settled:
            await first_of(self._settled(body), body.process.exited.wait(), self._stopping.wait())
        if self.state is ReplicaState.READY:
            await self._until_news(body)
        if body.process.exited.is_set() and not self._stopping.is_set():
            await self._note_death(body)

    async def _until_news(self, body: Body) -> None:
        """There may be a thousand of us, waiting most of their life: no task for each thing to wait for."""
        process = body.process
        process.watch(self._news.set)
        try:
            while not (self._stopping.is_set() or process.exited.is_set()):
                await self._news.wait()
                self._news.clear()
                if isinstance(body, ForkedBody) and body.takes(self.spec):
                    await first_of(self._taken(body), process.exited.wait(), self._stopping.wait())
        finally:
            process.unwatch(self._news.set)

    async def _ready(self, body: Body) -> None:
        form = self.spec.form
        folder = form.path if form is not None else self.spec.path
        # Who shares a process is small, and read in a moment
        async with self._around.disk.turn("" if self.spec.host else folder):
            load = await body.make_ready()
        self._load = load or self._load
        self._enter(ReplicaState.READY)
        await self._around.gateway.set_replica(self.spec.replica_id, self.route_of(body))

    async def _settled(self, body: Body) -> None:
        await body.until_settled()
        self._around.changed(self, body.stage)

    async def _taken(self, body: ForkedBody) -> None:
        await body.take(self.spec)
        self._around.changed(self, "takes up a form")
        await self._settled(body)

    def route_of(self, body: Body) -> ReplicaRoute:
        """What the gateway is told of it while it is ready."""
        spec = self.spec
        fixed = {"model": spec.model, "version": spec.version, "max_outstanding": spec.max_outstanding}
        return {**fixed, **body.route}

    async def _note_death(self, body: Body) -> None:
        self._ready_for_s = time.monotonic() - self._ready_at_s if self._ready_at_s else 0.0
        self._enter(ReplicaState.STARTING, "died")
        if isinstance(body, InlineBody):
            # Whichever model it was: none may end the gateway twice
            self._around.gateway.died_with.add(self.spec.model)
        # The route goes first: how it died may take the warm parent a moment to tell.
        await self._around.gateway.remove_replica(self.spec.replica_id)
        if body.blameless:
            self._at_once = self._innocent = True
            return
        words = self._around.oom.explain(await body.exit_words()) or "status unknown"
        self._died(words, at_once=words != "out of memory")
        self._leave_host()
        log.warning("replica %s of %s (%d) died: %s", self.spec.replica_id, self.spec.model, body.process.pid, words)

    async def _note_failure(self, error: Exception) -> None:
        """It could not be started or could not load: in its own words, or those of its exit."""
        self._ready_for_s = 0.0
        body, reason = self.body, str(error) or type(error).__name__
        if body is not None and not isinstance(error, LoadFailedError) and await body.process.ended_within(EXIT_S):
            if body.blameless:
                self._innocent = True
                return
            self._leave_host()
            words = self._around.oom.explain(await body.exit_words()) or "status unknown"
            reason = words if not words.startswith("exit 0") else f"{words}: {reason}"
        killed = reason.startswith("signal")
        self._died(reason, at_once=killed)
        # An error that is not ours is a defect here, and needs its trace
        trace = None if isinstance(error, UnavailableError | OSError) else error
        log.warning("replica %s of %s failed: %s", self.spec.replica_id, self.spec.model, reason, exc_info=trace)

    def _leave_host(self) -> None:
        """It brought down a process that others were in: from now on it has one of its own."""
        if self.spec.host:
            self._culprit = True
            self.spec = replace(self.spec, host="")

    def _died(self, words: str, *, at_once: bool) -> None:
        self._restarts += 1
        self._at_once = at_once
        self._last_exit, self._last_exit_at_s = words, time.monotonic()

    async def _end(self) -> None:
        """Leave no route and no process of this body."""
        body = self.body
        if body is None:
            return
        was_ready = self.spec.replica_id in self._around.gateway.routes.replicas
        if self._stopping.is_set():
            await self._drain(body, was_ready=was_ready)
        await self._around.gateway.remove_replica(self.spec.replica_id)
        # One that is still loading owes nobody an answer; a program the user brought may want to tidy up.
        tidies = self.spec.command is not None
        orderly = self._stopping.is_set() and self._drain_s > 0 and (was_ready or tidies)
        # Drained, ours end at once. One that does not hangs in a call, whose time is over
        grace_s = STOP_GRACE_S if tidies else min(STOP_GRACE_S, self._drain_s)
        await body.stop(grace_s if orderly else 0)
        self.body = None

    async def _drain(self, body: Body, *, was_ready: bool) -> None:
        self._enter(ReplicaState.DRAINING)
        if was_ready and self._drain_s > 0:
            drained = self._around.gateway.drain_replica(self.spec.replica_id, self._drain_s)
            await first_of(drained, body.process.exited.wait(), self._hurry.wait())

    async def _pause(self, wait_s: float) -> None:
        if wait_s > 0:
            self._enter(ReplicaState.FAILED, self._last_exit or "")
            await first_of(asyncio.sleep(wait_s), self._stopping.wait())
