"""Processes that replicas of several models share: forked when the first one comes, ended when the last one goes."""

import asyncio
import contextlib
import logging
import time
from pathlib import Path
from typing import Any

from sizewise.backends.local.backoff import Backoff
from sizewise.backends.local.body import EXIT_NEWS_S, forked, load_time
from sizewise.backends.local.link import ReplicaLink
from sizewise.backends.local.processes import Process
from sizewise.backends.local.warm import Folders, WarmParent, WarmParents
from sizewise.core.profiles import LoadTime
from sizewise.protocols.backend import HostObserved, ReplicaSpec
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.execution import executing

log = logging.getLogger(__name__)

UNLOAD_S = 5.0
"""A process that has not let go of a model by then hangs in a call, and everybody in it with it."""
END_GRACE_S = 1.0


def socket_of(run_dir: Path, host: str) -> Path:
    return run_dir / f"h-{host}.sock"


def target_of(spec: ReplicaSpec) -> str:
    return f"{spec.model}@{spec.version}"


class Life:
    """One process, from its fork to its end."""

    def __init__(self, process: Process, link: ReplicaLink, parent: WarmParent | None) -> None:
        self.process = process
        self.link = link
        self.members: set[str] = set()
        """Targets that have a place in it."""
        self.culprit: str | None = None
        """What was executing when it ended."""
        self._parent = parent
        self._how: asyncio.Task[str | None] | None = None

    @property
    def journal(self) -> Path:
        return self.link.path.with_suffix(".journal")

    async def exit_words(self) -> str | None:
        """How it ended; the same for everybody who asks."""
        if self._how is None:
            self._how = asyncio.ensure_future(self._heard())
        return await asyncio.shield(self._how)

    async def end(self) -> None:
        self.link.stop()
        if not await self.process.ended_within(END_GRACE_S):
            self.process.kill()
            await self.process.exited.wait()
        self.link.close()
        _tidy(self.link.path)

    async def _heard(self) -> str | None:
        if self.process.status is None and self._parent is not None:
            return await self._parent.exit_words(self.process.pid, timeout_s=EXIT_NEWS_S)
        return self.process.status


class Host:
    """A shared process under one id, started again when it ends while somebody has a place in it."""

    def __init__(self, host: str, runtime: str, folders: Folders) -> None:
        self.host = host
        self.runtime = runtime
        self.life: Life | None = None
        self.unexplained = 0
        self._folders = folders
        self._lock = asyncio.Lock()
        self._backoff = Backoff()
        self._began_s = 0.0

    @property
    def busy(self) -> bool:
        """Its process is being started or ended."""
        return self._lock.locked()

    def observed(self) -> HostObserved:
        pid = self.life.process.pid if self.life is not None else None
        return HostObserved(host=self.host, pid=pid, runtime=self.runtime, unexplained=self.unexplained)

    async def join(self, spec: ReplicaSpec, parent: WarmParent) -> "HostedBody":
        """A place in the process that lives, or in a new one. Raises UnavailableError with the reason."""
        async with self._lock:
            life = self.life
            if life is None or life.process.exited.is_set():
                life = await self._fork(parent)
            return HostedBody(spec, life, self)

    async def adopt(self, parent: WarmParent | None) -> bool:
        """Connect to the process of an earlier keeper."""
        path = socket_of(self._folders.run_dir, self.host)
        try:
            link = await ReplicaLink.connect(path)
            process = Process(link.pid if parent is None else parent.hosts[self.host])
        except (UnavailableError, ProcessLookupError):
            path.unlink(missing_ok=True)
            return False
        self._live(Life(process, link, parent))
        return True

    async def leave(self, body: "HostedBody") -> None:
        """Let go of a model; the last one ends the process."""
        life = body.life
        try:
            if not life.process.exited.is_set():
                async with asyncio.timeout(UNLOAD_S):
                    await life.link.unload(body.target)
        except TimeoutError:
            log.warning("host %s does not let go of %s: it is ended", self.host, body.target)
            life.process.kill()
        except UnavailableError:
            pass  # it has ended
        life.members.discard(body.target)
        async with self._lock:
            if not life.members and self.life is life:
                self.life = None
                await life.end()

    async def let_go_of(self, wanted: set[str]) -> None:
        """Unload what nobody wants any more, after an adoption."""
        life = self.life
        if life is None:
            return
        with contextlib.suppress(UnavailableError, TimeoutError):
            async with asyncio.timeout(UNLOAD_S):
                for target in set(await life.link.targets()) - wanted:
                    await life.link.unload(target)

    def _live(self, life: Life) -> None:
        self.life = life
        life.process.watch(lambda: self._ended(life))

    def _ended(self, life: Life) -> None:
        """Called before anybody who waits for its end looks: who was it?"""
        if self.life is not life:
            return  # it was told to end
        life.culprit = executing(life.journal)
        self.unexplained += life.culprit is None
        log.warning("host %s (%d) ended while executing %s", self.host, life.process.pid, life.culprit or "nothing")

    async def _fork(self, parent: WarmParent) -> Life:
        await parent.ready()
        now_s = time.monotonic()
        if self._began_s:
            await asyncio.sleep(self._backoff.next_s(ready_for_s=now_s - self._began_s))
        self._began_s = time.monotonic()
        path = socket_of(self._folders.run_dir, self.host)
        path.unlink(missing_ok=True)
        process = await forked(lambda: parent.fork(self.host, self.runtime, shared=True), parent)
        try:
            link = await ReplicaLink.connect(path)
        except BaseException:
            process.kill()
            raise
        life = Life(process, link, parent)
        self._live(life)
        return life


class HostedBody:
    """A replica that has a place in a shared process."""

    port: int | None = None
    stage = ""
    settled = True

    def __init__(self, spec: ReplicaSpec, life: Life, host: Host) -> None:
        self.life = life
        self.target = target_of(spec)
        self.memory_bytes = 0
        """What the load added to the process."""
        self._spec = spec
        self._host = host
        self._joined_s = time.monotonic()
        life.members.add(self.target)

    @property
    def process(self) -> Process:
        return self.life.process

    @property
    def pid(self) -> int:
        return self.life.process.pid

    @property
    def blameless(self) -> bool:
        return self.life.culprit != self.target

    @property
    def route(self) -> dict[str, Any]:
        return {"socket": str(self.life.link.path), "host": self._host.host}

    async def make_ready(self) -> LoadTime | None:
        report, load = await load_time(self.life.link, self._spec, ordered_s=None)
        self.stage = report["stage"]
        self.memory_bytes = int(report.get("memory", {}).get("resident_bytes", 0))
        return load

    async def until_settled(self) -> None:
        """Small models have one session."""

    async def stop(self, grace_s: float) -> None:  # noqa: ARG002 - what it has received is answered in any case
        await self._host.leave(self)

    async def exit_words(self) -> str | None:
        return await self.life.exit_words()


class Hosts:
    """All shared processes of a keeper."""

    def __init__(self, folders: Folders, warm: WarmParents) -> None:
        self.hosts: dict[str, Host] = {}
        self._folders = folders
        self._warm = warm
        self._adopting: dict[str, asyncio.Task[bool]] = {}

    async def join(self, spec: ReplicaSpec) -> HostedBody:
        return await self._of(spec).join(spec, self._warm.of(spec.runtime))

    async def adopt(self, spec: ReplicaSpec) -> HostedBody | None:
        """The place that this replica has in a process of an earlier keeper; loading it again tells how it is."""
        host = self._of(spec)
        if spec.host not in self._adopting:
            parent = self._warm.parent_of_host(spec.host)
            self._adopting[spec.host] = asyncio.ensure_future(host.adopt(parent))
        if not await self._adopting[spec.host] or host.life is None:
            return None
        return HostedBody(spec, host.life, host)

    async def tidy(self) -> None:
        """After an adoption: end what nobody has a place in, and unload what nobody wants."""
        for path in self._folders.run_dir.glob("h-*.sock"):
            if path.stem[2:] not in self.hosts:
                await _end_stray(path)
        for host in self.hosts.values():
            await host.let_go_of(host.life.members if host.life is not None else set())

    def observed(self) -> list[HostObserved]:
        self.hosts = {name: host for name, host in self.hosts.items() if host.life is not None or host.busy}
        return [host.observed() for host in self.hosts.values() if host.life is not None]

    def _of(self, spec: ReplicaSpec) -> Host:
        return self.hosts.setdefault(spec.host, Host(spec.host, spec.runtime, self._folders))


async def _end_stray(path: Path) -> None:
    with contextlib.suppress(UnavailableError, ProcessLookupError):
        link = await ReplicaLink.connect(path)
        await Life(Process(link.pid), link, None).end()
    _tidy(path)


def _tidy(path: Path) -> None:
    for each in (path, path.with_suffix(".journal")):
        each.unlink(missing_ok=True)
