"""Making load-ready forms beside what serves: one at a time, at the lowest priority, and only within what is free."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from sizewise.controller.forming import FormJob
from sizewise.controller.forms import FormStore
from sizewise.controller.records import VersionRecord
from sizewise.core.forms import MAPPED, ONNX, PACKED, Form, Wish, wanted
from sizewise.core.profiles import ModelProfile
from sizewise.core.units import MIB
from sizewise.protocols.errors import ModelFileError, SizewiseError
from sizewise.protocols.serde import dumps
from sizewise.runtimes.forms import KINDS, key_of
from sizewise.system.memory import rss_anon_bytes

log = logging.getLogger(__name__)

TIME_S = 600.0
LOOK_S = 0.2
"""Between looks at the memory of the process that makes a form."""
MEMORY_PER_BYTE = 2.5
"""Private memory that making a form takes for each byte of weights: the model loaded whole, and what is packed."""
MEMORY_FLOOR_BYTES = 200 * MIB
CONVERT_PER_BYTE, CONVERT_FLOOR_BYTES = 60.0, 500 * MIB
"""Of converting to another runtime: both runtimes and the converter, and graphs as lists of Python numbers. PyTorch is
as large by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What is free for forms."""

    disk_bytes: int
    """Forms that exist may be counted as free: their successors take their place."""
    memory_bytes: int


class Former:
    """``look`` now and then; what is made shows in the store."""

    def __init__(self, store: FormStore, *, state_dir: Path) -> None:
        self.store = store
        self._state_dir = state_dir
        self._task: asyncio.Task[None] | None = None
        self._failed: dict[tuple[str, str], str] = {}
        """By (hash, key) why: it would fail again."""

    @property
    def busy(self) -> bool:
        return self._task is not None and not self._task.done()

    async def look(
        self, versions: Iterable[tuple[str, VersionRecord]], profiles: Mapping[str, ModelProfile], room: Room
    ) -> None:
        """Begin to make the next form that is missing; ``versions`` are (model, version)."""
        if self.busy:
            if room.memory_bytes < 0:  # what serves needs it; it is taken up again
                await self.close()
            return
        for model, version in versions:
            found = self._missing(version, profiles[version.hash], room)
            if found is not None:
                self._task = asyncio.ensure_future(self._make(model, version, wish=found[0], key=found[1]))
                return

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def why_not(self, content_hash: str) -> str | None:
        """Why a form that was wanted cannot be had."""
        return next((why for (failed, _), why in self._failed.items() if failed == content_hash), None)

    def keys(self) -> frozenset[str]:
        """Of forms that can be opened here and now."""
        return frozenset(key_of(name) for name, kind in KINDS.items() if kind.installed)

    def _missing(self, version: VersionRecord, profile: ModelProfile, room: Room) -> tuple[Wish, str] | None:
        facts = version.facts
        have = self.store.find(version.hash)
        wish = wanted(facts, profile, room_bytes=room.disk_bytes + (have.disk_bytes if have else 0))
        if not version.path or wish is None or not KINDS[wish.name].installed:
            return None
        key = key_of(wish.name)
        # A packed form serves where a mapped one would do: what lies there already costs nothing but disk
        if have is not None and (have.key == key or have.key == key_of(have.name)):
            return None
        if need_bytes(version, wish.name) > room.memory_bytes or (version.hash, key) in self._failed:
            return None
        return wish, key

    async def _make(self, model: str, version: VersionRecord, *, wish: Wish, key: str) -> None:
        log.info("making form %s of %s", wish.name, model)
        folder = await asyncio.to_thread(self.store.begin)
        job = FormJob(
            model=model,
            form=wish.name,
            facts=version.facts,
            folder=version.path,
            target=str(folder),
            state_dir=str(self._state_dir),
        )
        try:
            entry = await _run(job, memory_bytes=need_bytes(version, wish.name))
            form = Form(name=wish.name, key=key, runtime=KINDS[wish.name].runtime, path="", entry=entry, disk_bytes=0)
            await asyncio.to_thread(self.store.commit, folder, version.hash, form)
            log.info("form %s of %s is there", wish.name, model)
        except (SizewiseError, OSError) as error:
            log.warning("form %s of %s cannot be had, it is served as it is: %s", wish.name, model, error)
            self._failed[version.hash, key] = str(error)
        finally:
            await asyncio.to_thread(self.store.abandon, folder)


def need_bytes(version: VersionRecord, form: str) -> int:
    floor = MEMORY_FLOOR_BYTES if form in {MAPPED, PACKED} else CONVERT_FLOOR_BYTES
    per_byte = CONVERT_PER_BYTE if form == ONNX else MEMORY_PER_BYTE
    return floor + round(per_byte * version.facts.weights_bytes)


async def _run(job: FormJob, *, memory_bytes: int) -> str:
    """The entry of the form that was written. Whatever happens, the process ends with this call."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "sizewise.controller.forming"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    telling = asyncio.ensure_future(child.communicate(dumps(job)))
    try:
        async with asyncio.timeout(TIME_S):
            while not (await asyncio.wait((telling,), timeout=LOOK_S))[0]:
                if rss_anon_bytes(child.pid) > memory_bytes:
                    raise ModelFileError(job.model, f"making form {job.form!r} took more memory than expected")
        output, _ = telling.result()
    except TimeoutError:
        raise ModelFileError(job.model, f"making form {job.form!r} took longer than {TIME_S:g} s") from None
    finally:
        telling.cancel()
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGKILL)
        await child.wait()
    if child.returncode != 0:
        raise ModelFileError(job.model, f"the process that made form {job.form!r} died", "see controller.log")
    answer = orjson.loads(output)
    if "error" in answer:
        raise ModelFileError(job.model, str(answer["error"]))
    return str(answer["entry"])
