"""The last desired state: what the keeper keeps running, and what a new keeper starts from."""

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import orjson

from sizewise.protocols.backend import (
    Action,
    HoldWarm,
    ModelRoute,
    PublishModel,
    ReleaseWarm,
    ReplicaSpec,
    StartReplica,
    StopReplica,
    TakeForm,
    WithdrawModel,
)
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.serde import dumps, from_jsonable, loads, to_jsonable

ACTIONS: dict[str, type[Action]] = {
    kind.__name__: kind
    for kind in (StartReplica, StopReplica, TakeForm, PublishModel, WithdrawModel, HoldWarm, ReleaseWarm)
}


def actions_to_json(actions: Sequence[Action]) -> list[dict[str, Any]]:
    return [{"type": type(action).__name__, **to_jsonable(action)} for action in actions]


def actions_from_json(values: Sequence[dict[str, Any]]) -> tuple[Action, ...]:
    """Raises ValueError naming what is not an action."""
    actions = []
    for value in values:
        fields = dict(value)
        kind = ACTIONS.get(str(fields.pop("type", None)))
        if kind is None:
            raise ValueError(f"{value.get('type')!r} is not an action: one of {', '.join(ACTIONS)}")
        actions.append(from_jsonable(kind, fields))
    return tuple(actions)


@dataclass(slots=True)
class Desired:
    models: dict[str, ModelRoute] = field(default_factory=dict)
    replicas: dict[str, ReplicaSpec] = field(default_factory=dict)
    draining: dict[str, ReplicaSpec] = field(default_factory=dict)
    """No longer wanted, and perhaps not gone yet: a new keeper goes on draining them."""
    warm: dict[str, HoldWarm] = field(default_factory=dict)
    """Files to hold in memory, by model."""

    def check(self, actions: Sequence[Action]) -> None:
        """Raises UnavailableError when an id would come to mean another replica."""
        for action in actions:
            if isinstance(action, StartReplica):
                spec = action.spec
                # Where it runs may have changed since (it has brought down a process that others were in), and which
                # form it opens
                if replace(self.replicas.get(spec.replica_id, spec), host=spec.host, form=spec.form) != spec:
                    raise UnavailableError(
                        f"replica {spec.replica_id} runs another spec already: stop it, or choose another id"
                    )

    def apply(self, action: Action) -> None:
        if isinstance(action, StartReplica):
            self.replicas.setdefault(action.spec.replica_id, action.spec)
        elif isinstance(action, StopReplica):
            if (spec := self.replicas.pop(action.replica_id, None)) is not None:
                self.draining[action.replica_id] = spec
        elif isinstance(action, TakeForm):
            if (spec := self.replicas.get(action.replica_id)) is not None:
                self.replicas[action.replica_id] = replace(spec, form=action.form)
        elif isinstance(action, PublishModel):
            self.models[action.route.model] = action.route
        elif isinstance(action, HoldWarm):
            self.warm[action.model] = action
        elif isinstance(action, ReleaseWarm):
            self.warm.pop(action.model, None)
        else:
            self.models.pop(action.model, None)

    @classmethod
    def load(cls, path: Path) -> "Desired":
        """Empty when there is none. Raises ValueError when the file is not one of ours."""
        try:
            return loads(cls, path.read_bytes())
        except FileNotFoundError:
            return cls()


class DesiredFile:
    """Where the desired state is kept. There may be thousands of specs and routes, and each change writes the file:
    what has not changed is encoded once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[tuple[str, str], tuple[object, orjson.Fragment]] = {}

    def text(self, desired: Desired) -> bytes:
        """As ``Desired.load`` reads it."""
        known, self._known = self._known, {}
        parts: dict[str, dict[str, orjson.Fragment]] = {}
        for part in [each.name for each in fields(desired)]:
            values: Mapping[str, object] = getattr(desired, part)
            parts[part] = {key: self._encoded((part, key), value, known) for key, value in values.items()}
        return orjson.dumps(parts)

    def write(self, text: bytes) -> None:
        """Replace the file as a whole; a crash leaves the old one or the new one. Blocks until it is on disk."""
        path = self.path
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise

    def _encoded(
        self, key: tuple[str, str], value: object, known: Mapping[tuple[str, str], tuple[object, orjson.Fragment]]
    ) -> orjson.Fragment:
        found = known.get(key)
        if found is None or found[0] is not value:
            found = (value, orjson.Fragment(dumps(value)))
        self._known[key] = found
        return found[1]
