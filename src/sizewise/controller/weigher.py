"""Weighing models for the controller: facts from files, stored or estimated profiles, measurements in a child."""

import asyncio
import contextlib
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from sizewise import formats
from sizewise.controller.forms import FormStore
from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.core.forms import Form, as_opened
from sizewise.core.profiles import ModelFacts, ModelProfile
from sizewise.core.slo import Slo
from sizewise.profiling.estimate import estimate
from sizewise.profiling.measure import Bench
from sizewise.profiling.store import ProfileStore
from sizewise.protocols.errors import ModelFileError, UnavailableError
from sizewise.protocols.serde import dumps


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureJob:
    """What ``python -m sizewise.controller.measuring`` reads on standard input."""

    state_dir: str
    name: str
    hash: str
    facts: ModelFacts
    folder: str
    cpus: float
    memory_bytes: int
    slo: Slo | None
    form: Form | None


class FileWeigher:
    """A ``deploy.Weigher``. ``bench`` is the machine's share that models may use."""

    def __init__(self, state_dir: Path, bench: Bench, *, forms: FormStore | None = None) -> None:
        self._state_dir = state_dir
        self._bench = bench
        self._profiles = ProfileStore(state_dir / "profiles")
        self._forms = forms

    def inspect(self, path: Path) -> ModelFacts:
        return formats.inspect(path)

    def profile(self, version: VersionRecord) -> ModelProfile:
        """What was measured of exactly these bytes on this kind of processor; an estimate where nothing was."""
        form = self._form(version)
        known = self._kept(version.hash, form) if version.path else None
        if known is not None and _processor(known.machine) == _processor(self._bench.machine):
            return known
        return replace(estimate(as_opened(version.facts, form)), form=form.key if form else "")

    async def measure(self, record: ModelRecord, memory_bytes: int) -> ModelProfile:
        """In a process of its own, which ends with this call however it ends. Raises SizewiseError."""
        version = record.serving
        form = self._form(version)
        job = MeasureJob(
            state_dir=str(self._state_dir),
            name=record.name,
            hash=version.hash,
            facts=version.facts,
            folder=version.path,
            cpus=self._bench.cpus,
            memory_bytes=min(memory_bytes, self._bench.memory_bytes),
            slo=record.wants.slo,
            form=form,
        )
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "sizewise.controller.measuring"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            output, _ = await child.communicate(dumps(job))
        finally:
            # Its own children are told to die with it.
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(signal.SIGKILL)
            await child.wait()
        if child.returncode != 0:
            raise ModelFileError(record.name, "the measuring process died", "see controller.log")
        answer = orjson.loads(output.splitlines()[-1])
        if "error" in answer:
            raise UnavailableError(str(answer["error"]))
        profile = self._kept(version.hash, form)
        if profile is None:
            raise UnavailableError(f"the profile of {record.name!r} could not be read back: look at {self._state_dir}")
        return profile

    def _form(self, version: VersionRecord) -> Form | None:
        return self._forms.find(version.hash) if self._forms is not None else None

    def _kept(self, content_hash: str, form: Form | None) -> ModelProfile | None:
        return self._profiles.get(ProfileStore.name(content_hash, form.key if form else ""))


def _processor(machine: str) -> str:
    """The budget may change from one run to the next; the processor is what figures hold for."""
    return machine.partition(",")[0]
