"""The ``routes`` message as values. The keeper may be newer than we are: what is not known is left out."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.backend import ModelRoute

_ROUTE_FIELDS = frozenset(field.name for field in fields(ModelRoute))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRoute:
    """Where a ready replica listens: on a Unix socket in the run folder, on a local port, or nowhere (inline)."""

    model: str
    version: str
    socket: str | None = None
    port: int | None = None
    inline: bool = False
    """In this process: ``load_inline`` went before."""
    max_outstanding: int = 64
    host: str = ""
    """Who answers at the socket, where that is a process that replicas share."""


def model_route(value: Mapping[str, Any]) -> ModelRoute:
    """Raises TypeError or KeyError naming what is missing."""
    known = {key: value[key] for key in _ROUTE_FIELDS & value.keys()}
    for side in ("inputs", "outputs"):
        known[side] = tuple(_tensor(spec) for spec in value.get(side) or ())
    return ModelRoute(**known)


def replica_route(value: Mapping[str, Any]) -> ReplicaRoute:
    socket, port = value.get("socket"), value.get("port")
    return ReplicaRoute(
        model=value["model"],
        version=value["version"],
        socket=None if socket is None else str(socket),
        port=None if port is None else int(port),
        inline=bool(value.get("inline")),
        max_outstanding=int(value.get("max_outstanding") or 64),
        host=str(value.get("host") or ""),
    )


def _tensor(spec: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(name=spec["name"], datatype=spec["datatype"], shape=tuple(spec["shape"]))
