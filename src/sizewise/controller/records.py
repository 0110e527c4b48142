"""What the controller remembers of a model."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from sizewise.controller.spec import ModelSpec
from sizewise.core.profiles import ModelFacts
from sizewise.protocols.backend import CommandSpec

Origin = Literal["spec", "deploy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """One version: an artifact in the store, or a command."""

    hash: str
    """Of its files; of its command line where there are none."""
    version: str
    uri: str
    """Where it came from, for people to read; nothing is served from there."""
    facts: ModelFacts
    path: str = ""
    """Its folder in the store; empty for a command."""
    command: CommandSpec | None = None
    deployed_unix_s: float = 0.0

    @property
    def is_code(self) -> bool:
        return self.facts.runtime in ("python", "command")


class RolloutState(StrEnum):
    RUNNING = "running"
    SWITCHED = "switched"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How the last change of version went, or goes."""

    version: str
    state: RolloutState
    detail: str = ""
    at_unix_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """One deployed model: what somebody asked for, and which version serves."""

    wants: ModelSpec
    origin: Origin
    serving: VersionRecord
    candidate: VersionRecord | None = None
    """Loads beside ``serving`` until it is ready, or has failed."""
    pinned: int | None = None
    """Replicas somebody asked for by hand; None lets the policy choose."""
    rollout: Rollout | None = None
    alone: str | None = None
    """Why it shares a process with nobody, until it is deployed again; None: nothing speaks against it."""

    @property
    def name(self) -> str:
        return self.wants.name

    @property
    def versions(self) -> tuple[VersionRecord, ...]:
        return (self.serving,) if self.candidate is None else (self.serving, self.candidate)

    def version_of(self, version: str) -> VersionRecord | None:
        return next((known for known in self.versions if known.version == version), None)

    def switched(self, now_unix_s: float) -> "ModelRecord":
        """The candidate serves from now on."""
        assert self.candidate is not None
        done = Rollout(version=self.candidate.version, state=RolloutState.SWITCHED, at_unix_s=now_unix_s)
        return replace(self, serving=self.candidate, candidate=None, rollout=done)

    def abandoned(self, detail: str, now_unix_s: float) -> "ModelRecord":
        """The candidate is given up; what served goes on serving."""
        assert self.candidate is not None
        failed = Rollout(version=self.candidate.version, state=RolloutState.FAILED, detail=detail, at_unix_s=now_unix_s)
        return replace(self, candidate=None, rollout=failed)
