"""What a controller works with: passed in, so that the same one runs on a machine, a fake and a simulator."""

from collections.abc import Callable
from dataclasses import dataclass

from sizewise.controller.deploy import Weigher
from sizewise.controller.former import Former
from sizewise.controller.state import StateStore
from sizewise.protocols.artifacts import ArtifactStore
from sizewise.protocols.backend import Backend
from sizewise.protocols.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a controller works with."""

    backend: Backend
    clock: Clock
    state: StateStore
    store: ArtifactStore
    weigher: Weigher
    unix_s: Callable[[], float]
    """Time of day, for people to read."""
    new_id: Callable[[], str]
    """A short identifier for a replica, never given before."""
    boot: str = ""
    """Names this run of the machine: the monotonic clock begins anew with the next."""
    former: Former | None = None
    """Makes load-ready forms; None where models are served as they were deployed."""
