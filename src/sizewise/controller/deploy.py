"""Deploying: what a user names becomes a version in the store, checked before anything of the running state changes."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from sizewise.controller.records import ModelRecord, Origin, Rollout, RolloutState, VersionRecord
from sizewise.controller.registry import Registry
from sizewise.controller.spec import ModelSpec, Spec, check_name
from sizewise.core.profiles import ModelFacts, ModelProfile
from sizewise.protocols.artifacts import VERSION_CHARS, ArtifactStore
from sizewise.protocols.backend import CommandSpec
from sizewise.protocols.errors import DoesNotFitError, ForbiddenError, ModelFileError, SizewiseError, UsageError
from sizewise.protocols.serde import dumps


class Weigher(Protocol):
    """What files say, and what is known or guessed of how they behave. The first two block: they read files."""

    def inspect(self, path: Path) -> ModelFacts: ...

    def profile(self, version: VersionRecord) -> ModelProfile: ...

    async def measure(self, record: ModelRecord, memory_bytes: int) -> ModelProfile:
        """The full profile of what serves, within so much memory; does not block. Raises SizewiseError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What applying a spec changed, by model name."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """Not in the spec; deployed by hand, and left alone."""
    failed: Mapping[str, str] = field(default_factory=dict)
    """The one line that says why. The others are applied all the same."""
    exit_code: int = 0
    """The worst of the failures, as a command would exit with it."""


class Deployer:
    """``profiles`` gets the profile of each version before anybody knows of the version.

    ``have_bytes`` tells how much memory models may take together; ``unix_s`` is the time that people read.
    """

    def __init__(
        self,
        registry: Registry,
        store: ArtifactStore,
        *,
        weigher: Weigher,
        profiles: MutableMapping[str, ModelProfile],
        have_bytes: Callable[[], int],
        unix_s: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._store = store
        self._weigher = weigher
        self._profiles = profiles
        self._have_bytes = have_bytes
        self._unix_s = unix_s
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def deploy(self, wants: ModelSpec, *, origin: Origin, code_allowed: bool) -> ModelRecord:
        """The record as it is now; a change of version goes on beside. Raises SizewiseError, having changed nothing."""
        check_name(wants.name)
        async with self._locks[wants.name], self._registry.holding():
            version = await asyncio.to_thread(self._prepare, wants, code_allowed=code_allowed)
            record = self._merged(self._registry.find(wants.name), wants, version, origin=origin)
            if origin == "spec":
                record = replace(record, origin=origin)
            await self._registry.put(record)
            return record

    async def undeploy(self, name: str) -> None:
        async with self._locks[name]:
            self._registry.get(name)
            await self._registry.delete(name)

    async def apply(self, spec: Spec, *, prune: bool, code_allowed: bool) -> Difference:
        """Make what is deployed equal ``spec``. Models that were deployed by hand stay unless ``prune``."""
        before = {record.name: record for record in self._registry}
        outcome: dict[str, list[str]] = {"added": [], "changed": [], "unchanged": [], "removed": [], "kept": []}
        failed, exit_code = {}, 0
        for wants in spec.models:
            old = before.get(wants.name)
            try:
                new = await self.deploy(wants, origin="spec", code_allowed=code_allowed)
            except SizewiseError as error:
                failed[wants.name], exit_code = str(error), max(exit_code, error.exit_code)
                continue
            same = old is not None and replace(old, origin="spec") == new
            outcome["added" if old is None else "unchanged" if same else "changed"].append(wants.name)
        wanted = {wants.name for wants in spec.models}
        for name, old in before.items():
            if name not in wanted:
                gone = prune or old.origin == "spec"
                outcome["removed" if gone else "kept"].append(name)
                if gone:
                    await self.undeploy(name)
        return Difference(failed=failed, exit_code=exit_code, **{k: tuple(v) for k, v in outcome.items()})

    def _prepare(self, wants: ModelSpec, *, code_allowed: bool) -> VersionRecord:
        """In a thread: inspecting and copying read whole files."""
        if wants.command is not None:
            version = _command_version(wants.command, self._unix_s())
        elif wants.uri is not None:
            version = self._stored(wants.name, wants.uri, code_allowed=code_allowed)
        else:
            raise UsageError(f"model {wants.name!r} has neither uri nor command: give exactly one of them")
        _check_code(wants.name, version.facts, code_allowed=code_allowed)
        if version.facts.runtime is None:
            raise ModelFileError(
                version.uri,
                f"{version.facts.format} can be weighed but not served",
                "; ".join(version.facts.notes) or "deploy a format that carries the whole model",
            )
        profile = self._weigher.profile(version)
        _check_fits(wants.name, profile, self._have_bytes())
        self._profiles[version.hash] = profile
        return version

    def _stored(self, name: str, uri: str, *, code_allowed: bool) -> VersionRecord:
        source = Path(uri)
        if not source.is_absolute():
            raise UsageError(f"uri {uri!r} is relative: give an absolute path")
        facts = self._weigher.inspect(source)
        # Before anything large is copied: what can be refused from the source is refused now.
        _check_code(name, facts, code_allowed=code_allowed)
        guess = VersionRecord(hash="", version="", uri=uri, facts=facts)
        _check_fits(name, self._weigher.profile(guess), self._have_bytes())
        folder = source if source.is_dir() else source.parent
        artifact = self._store.put(folder, facts.files, model=name)
        # The source may have changed since it was inspected; what counts is what lies in the store.
        kept = self._weigher.inspect(artifact.path if source.is_dir() else artifact.path / source.name)
        return VersionRecord(
            hash=artifact.hash,
            version=artifact.version,
            uri=uri,
            facts=kept,
            path=str(artifact.path),
            deployed_unix_s=self._unix_s(),
        )

    def _merged(self, old: ModelRecord | None, wants: ModelSpec, new: VersionRecord, *, origin: Origin) -> ModelRecord:
        """What somebody asked for by hand (``pinned``) holds until the model is deployed again."""
        if old is None:
            return ModelRecord(wants=wants, origin="deploy", serving=new)
        if new.version == old.serving.version:
            same = wants == old.wants and origin == "spec"
            pinned, alone = (old.pinned, old.alone) if same else (None, None)
            return replace(old, wants=wants, candidate=None, pinned=pinned, alone=alone)
        if old.candidate is not None and new.version == old.candidate.version:
            return replace(old, wants=wants)
        running = Rollout(version=new.version, state=RolloutState.RUNNING, at_unix_s=self._unix_s())
        return replace(old, wants=wants, candidate=new, rollout=running, pinned=None, alone=None)


def _check_code(name: str, facts: ModelFacts, *, code_allowed: bool) -> None:
    if facts.runtime in {"python", "command"} and not code_allowed:
        raise ForbiddenError(
            f"model {name!r} is code and would run with your rights: write it into the spec, "
            f"or deploy it on this machine with --allow-code"
        )


def _check_fits(name: str, profile: ModelProfile, have_bytes: int) -> None:
    need_bytes = profile.memory.replica_bytes + profile.memory.mapped_bytes
    if need_bytes > have_bytes:
        raise DoesNotFitError(
            model=name,
            resource="memory",
            need_bytes=need_bytes,
            have_bytes=max(have_bytes, 0),
            advice="raise machine.memory, or deploy a smaller model",
        )


def _command_version(command: CommandSpec, now_unix_s: float) -> VersionRecord:
    digest = hashlib.sha256(dumps(command)).hexdigest()
    facts = ModelFacts(format="command", platform="command", runtime="command", disk_bytes=0, batchable=False)
    return VersionRecord(
        hash=digest,
        version=digest[:VERSION_CHARS],
        uri=" ".join(command.argv),
        facts=facts,
        command=command,
        deployed_unix_s=now_unix_s,
    )
