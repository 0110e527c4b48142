"""One running process of a replica: what the keeper does with it, whatever kind it is."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from sizewise.backends.local.link import ReplicaLink
from sizewise.backends.local.processes import Process
from sizewise.backends.local.warm import Folders, WarmParent
from sizewise.core.profiles import LoadTime
from sizewise.protocols.backend import ReplicaSpec
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.serde import from_jsonable

log = logging.getLogger(__name__)

EXIT_NEWS_S = 0.5
"""How long to wait for the parent's word on how its child ended."""


class Body(Protocol):
    """A replica's process. ``make_ready`` raises UnavailableError with one line when it will not serve."""

    port: int | None
    stage: str
    settled: bool

    @property
    def pid(self) -> int | None:
        """Of a process that holds nothing else."""
        ...

    @property
    def process(self) -> Process: ...

    @property
    def blameless(self) -> bool:
        """Its process ended, and something else in it was the reason."""
        ...

    @property
    def route(self) -> dict[str, Any]:
        """Where the gateway finds it: ``{"socket": path}`` or ``{"port": number}``."""
        ...

    async def make_ready(self) -> LoadTime | None: ...

    async def until_settled(self) -> None:
        """Until ``stage`` changes no more; call when it is ready."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Returns when nothing of it is left."""
        ...

    async def exit_words(self) -> str | None: ...


def socket_of(run_dir: Path, replica_id: str) -> Path:
    return run_dir / f"r-{replica_id}.sock"


class ForkedBody:
    """A replica of ours, forked by a warm parent and spoken to in frames."""

    port: int | None = None
    stage = ""
    settled = True
    blameless = False

    def __init__(self, spec: ReplicaSpec, process: Process, link: ReplicaLink) -> None:
        self.process = process
        self.ordered_s: float | None = None
        """When its fork was ordered; None for one that was adopted."""
        self.parent: WarmParent | None = None
        self._spec = spec
        self._link = link

    @classmethod
    async def fork(cls, spec: ReplicaSpec, folders: Folders, parent: WarmParent) -> "ForkedBody":
        """Raises UnavailableError with the reason; nothing is left running then."""
        # Importing a framework is paid once and not by the next load, so it is no part of what a load takes
        await parent.ready()
        ordered_s = time.monotonic()
        path = socket_of(folders.run_dir, spec.replica_id)
        path.unlink(missing_ok=True)
        process = await forked(lambda: parent.fork(spec.replica_id, spec.model), parent)
        try:
            link = await ReplicaLink.connect(path)
        except BaseException:
            process.kill()
            raise
        body = cls(spec, process, link)
        body.parent, body.ordered_s = parent, ordered_s
        return body

    @classmethod
    async def adopt(cls, spec: ReplicaSpec, folders: Folders, parent: WarmParent | None) -> "ForkedBody | None":
        """The replica that listens for this id, which may be loading or computing still; None when there is none.

        ``parent`` is who forked it, if that one lives.
        """
        path = socket_of(folders.run_dir, spec.replica_id)
        try:
            link = await ReplicaLink.connect(path)
        except UnavailableError:
            path.unlink(missing_ok=True)
            return None
        try:
            body = cls(spec, Process(link.pid if parent is None else parent.children[spec.replica_id]), link)
        except ProcessLookupError:
            link.close()
            return None
        body.parent = parent
        return body

    @property
    def pid(self) -> int | None:
        return self.process.pid

    @property
    def route(self) -> dict[str, Any]:
        return {"socket": str(self._link.path)}

    async def make_ready(self) -> LoadTime | None:
        """Load the model. One that has it already, by order of an earlier keeper, only repeats its report."""
        report, load = await load_time(self._link, self._spec, ordered_s=self.ordered_s)
        self.stage, self.settled = report["stage"], report["settled"]
        return load

    def takes(self, spec: ReplicaSpec) -> bool:
        """Whether it does not know the form of ``spec`` yet."""
        return spec.form != self._spec.form

    async def take(self, spec: ReplicaSpec) -> None:
        """Order the load again, with the form of ``spec``: what has the model already opens that beside it."""
        self._spec = spec
        with contextlib.suppress(UnavailableError):  # that it has gone is seen elsewhere
            await self.make_ready()

    async def until_settled(self) -> None:
        if self.settled:
            return
        with contextlib.suppress(UnavailableError):  # that it has gone is seen elsewhere
            self.stage = (await self._link.settled())["stage"]
        self.settled = True

    async def stop(self, grace_s: float) -> None:
        if grace_s > 0:
            self._link.stop()
        if grace_s <= 0 or not await self.process.ended_within(grace_s):
            self.process.kill()
            await self.process.exited.wait()
        self._link.close()
        self._link.path.unlink(missing_ok=True)

    async def exit_words(self) -> str | None:
        if self.process.status is None and self.parent is not None:
            return await self.parent.exit_words(self.process.pid, timeout_s=EXIT_NEWS_S)
        return self.process.status


async def load_time(
    link: ReplicaLink, spec: ReplicaSpec, *, ordered_s: float | None
) -> tuple[dict[str, Any], LoadTime]:
    """Load a model; its report, and the stages of the load. Raises UnavailableError when it takes too long.

    What was ordered at ``ordered_s`` had started when it said HELLO. The order to load does not wait for that.
    """
    limit_s = spec.load_timeout_s
    try:
        async with asyncio.timeout(limit_s):
            report = await link.load(spec)
    except TimeoutError as error:
        raise UnavailableError(f"loading took longer than {limit_s:g} s: give it more, or a faster disk") from error
    start_s = 0.0 if ordered_s is None or link.greeted_at_s is None else link.greeted_at_s - ordered_s
    return report, from_jsonable(LoadTime, {**report.get("load", {}), "start_s": start_s})


async def forked(fork: Callable[[], Coroutine[Any, Any, int]], parent: WarmParent) -> Process:
    """The process that ``fork`` asks the parent for; it is ended when nobody waits for it any more."""
    forking = asyncio.ensure_future(fork())
    try:
        pid = await asyncio.shield(forking)
    except asyncio.CancelledError:
        forking.add_done_callback(_end_unwanted)
        raise
    try:
        return Process(pid)
    except ProcessLookupError:
        how = await parent.exit_words(pid, timeout_s=EXIT_NEWS_S)
        raise UnavailableError(f"the replica ended as it started: {how or 'status unknown'}") from None


def _end_unwanted(forking: "asyncio.Future[int]") -> None:
    """Nobody waits for this fork any more: end the replica it made."""
    if not forking.cancelled() and forking.exception() is None:
        with contextlib.suppress(ProcessLookupError):
            Process(forking.result()).kill()
