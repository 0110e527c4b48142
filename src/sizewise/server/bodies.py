"""What callers send: the keys of ``sizewise.yaml``, checked by the same rules."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from sizewise.controller.spec import ModelSpec, Spec, check_name, parse_spec
from sizewise.protocols.errors import SpecError, UsageError

_CARRIED = ("slo", "scaling", "timeout_s", "max_queue", "hold_s", "isolation", "load_ready")
"""A deploy that does not name these leaves them as they are."""


class DeployBody(BaseModel):
    """One model. Exactly one of ``uri`` and ``command``."""

    model_config = ConfigDict(extra="forbid")

    name: str
    uri: str | None = Field(None, description="Absolute path of a file or folder on the controller's machine.")
    command: list[str] | None = Field(None, description="A server to bring; `{port}` stands for a free port.")
    cwd: str | None = None
    env: dict[str, str] | None = None
    ready: dict[str, str | float] | None = Field(None, description="`path` and `timeout_s` of a command.")
    slo: dict[str, float] | None = Field(None, description="One of p50_ms, p90_ms, p95_ms, p99_ms.")
    scaling: dict[str, int] | None = Field(None, description="min_replicas, max_replicas, priority.")
    timeout_s: float | None = None
    max_queue: int | None = None
    hold_s: float | None = None
    isolation: str | None = Field(None, description="auto, process or inline: may it share a process?")
    load_ready: bool | None = Field(None, description="May it be opened from a load-ready form?")
    allow_code: bool = Field(False, description="The model is code and may run with the controller's rights.")
    proof: str | None = Field(None, description="Shows that the caller owns the state directory; needed for code.")

    def wants(self, known: ModelSpec | None) -> ModelSpec:
        """As the spec would say it. ``known`` is what is deployed under this name. Raises UsageError, SpecError."""
        check_name(self.name)
        for key, path in (("uri", self.uri), ("cwd", self.cwd)):
            if path is not None and not Path(path).is_absolute():
                raise UsageError(f"{key} {path!r} is relative: give an absolute path")
        given = self.model_dump(exclude_none=True, exclude={"name", "allow_code", "proof"})
        try:
            text = orjson.dumps({"models": {self.name: _plain(given)}}).decode()
        except TypeError as error:  # a number of more than 64 bits, half a surrogate pair
            raise UsageError(f"{self.name}: has a value that no spec can hold: {error}") from error
        try:
            (model,) = parse_spec(text, file="request", base=Path("/")).models
        except SpecError as error:  # there is no file, and so no line, that the caller knows of
            key = error.key.removeprefix(f"models.{self.name}").lstrip(".") or self.name
            raise UsageError(f"{key}: {error.problem}" + (f": {error.allowed}" if error.allowed else "")) from error
        if known is None:
            return model
        kept: dict[str, Any] = {key: getattr(known, key) for key in _CARRIED if key not in given}
        return replace(model, **kept)


class SpecBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    spec: Spec
    prune: bool = Field(False, description="Remove models that were deployed by hand as well.")
    proof: str | None = None


class ShutdownBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    drain_s: float = Field(30.0, ge=0, le=3600)


def _plain(value: Any) -> Any:
    """Whole numbers without a fraction: JSON has one kind of number, a count must not become 4.0."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
