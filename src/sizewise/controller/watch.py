"""What goes wrong with replicas: crash loops are parked, replicas that outgrow their measured peak are ended."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sizewise.controller.records import ModelRecord
from sizewise.core.budget import overweight
from sizewise.core.fleet import ReplicaState
from sizewise.core.profiles import ModelProfile
from sizewise.core.units import format_bytes, format_seconds
from sizewise.protocols.backend import ReplicaObserved, StopReplica

DEATHS = 4
"""Deaths of one replica within ``WINDOW_S`` that make a crash loop. Several replicas that die once each, in one
accident, do not."""
FAILED_LOADS = 3
"""Loads of a model that failed within ``WINDOW_S``, over all its replicas: what cannot be loaded here cannot there."""
OOM_DEATHS = 2
"""Out of memory comes again, and each time takes something from the neighbors."""
WINDOW_S = 60.0
CALM_S = 30.0
"""Ready for this long: what happened before is forgiven."""
FIRST_PARK_S = 30.0
LONGEST_PARK_S = 600.0
OVERWEIGHT_DRAIN_S = 2.0
"""It is growing: what it has may finish, but not at leisure."""
OUT_OF_MEMORY = "out of memory"


@dataclass(slots=True)
class _Trouble:
    deaths: dict[str, deque[float]] = field(default_factory=dict)
    """Moments, by replica; under an empty name those of failed loads."""
    seen: dict[str, float] = field(default_factory=dict)
    """Last death known, by replica."""
    parked: int = 0
    """Times in a row."""
    until_s: float | None = None
    last_exit: str = ""


class Parking:
    """Which models are not started for now, because they die whenever they are."""

    def __init__(self) -> None:
        self._models: dict[str, _Trouble] = {}

    def absorb(self, record: ModelRecord, replicas: Iterable[ReplicaObserved], *, now_s: float, load_s: float) -> None:
        """Look at the deaths of the version that serves; a candidate's are the rollout's business."""
        trouble = self._models.setdefault(record.name, _Trouble())
        replicas = list(replicas)
        for gone in trouble.seen.keys() - {replica.replica_id for replica in replicas}:
            del trouble.seen[gone]
        for replica in replicas:
            if replica.version != record.serving.version:
                continue
            if replica.state is ReplicaState.READY and now_s - replica.since_s >= CALM_S:
                trouble.parked = 0
                trouble.deaths.clear()
            if replica.last_exit_at_s is not None and replica.last_exit is not None:
                self._death(trouble, replica, now_s=now_s, load_s=load_s)

    def until_s(self, now_s: float) -> Mapping[str, float]:
        """Models that are parked now."""
        return {
            name: trouble.until_s
            for name, trouble in self._models.items()
            if trouble.until_s is not None and now_s < trouble.until_s
        }

    def failure(self, model: str, now_s: float) -> str | None:
        """For people: why it is parked, and when it is tried again."""
        trouble = self._models.get(model)
        if trouble is None or trouble.until_s is None or now_s >= trouble.until_s:
            return None
        left = format_seconds(trouble.until_s - now_s)
        return f"it dies whenever it is started ({trouble.last_exit}): next try in {left}"

    def refusal(self, model: str) -> str:
        """For clients: the same without a time, so that it need not be published every second."""
        return f"model {model!r} cannot be started now ({self._models[model].last_exit}): it is tried again later"

    def last_exit(self, model: str) -> str | None:
        trouble = self._models.get(model)
        return trouble.last_exit or None if trouble else None

    def forgive(self, model: str) -> None:
        """Somebody changed something: try at once."""
        self._models.pop(model, None)

    @staticmethod
    def _death(trouble: _Trouble, replica: ReplicaObserved, *, now_s: float, load_s: float) -> None:
        assert replica.last_exit_at_s is not None
        if trouble.seen.get(replica.replica_id, -1.0) >= replica.last_exit_at_s:
            return
        trouble.seen[replica.replica_id] = replica.last_exit_at_s
        trouble.last_exit = replica.last_exit or ""
        load_failed = replica.state is ReplicaState.FAILED
        deaths = trouble.deaths.setdefault("" if load_failed else replica.replica_id, deque(maxlen=DEATHS))
        deaths.append(replica.last_exit_at_s)
        # A model that loads for long dies seldom, however often it tries.
        window_s = WINDOW_S + DEATHS * load_s
        recent = sum(now_s - at_s <= window_s for at_s in deaths)
        most = OOM_DEATHS if trouble.last_exit == OUT_OF_MEMORY else FAILED_LOADS if load_failed else DEATHS
        # After a park, one death shows that nothing has changed.
        if recent >= most or trouble.parked:
            trouble.until_s = now_s + min(FIRST_PARK_S * 2.0**trouble.parked, LONGEST_PARK_S)
            trouble.parked = min(trouble.parked + 1, 16)
            trouble.deaths.clear()


def stops_of_parked(replicas: Iterable[ReplicaObserved], parked: Mapping[str, float]) -> list[StopReplica]:
    """Replicas of parked models that do not answer: the backend would go on starting them."""
    return [
        StopReplica(replica_id=r.replica_id, drain_s=0.0, why="crash-looping")
        for r in replicas
        if r.model in parked and r.state not in {ReplicaState.READY, ReplicaState.DRAINING}
    ]


def stops_of_overweight(
    replicas: Iterable[ReplicaObserved], profiles: Mapping[tuple[str, str], ModelProfile]
) -> list[StopReplica]:
    """``profiles`` are the measured ones by model and version: live figures would follow a leak and excuse it."""
    stops: list[StopReplica] = []
    for replica in replicas:
        profile = profiles.get((replica.model, replica.version))
        if profile is None or replica.state is not ReplicaState.READY or not overweight(profile, replica.memory_bytes):
            continue
        why = (
            f"it holds {format_bytes(replica.memory_bytes)}, half more than its measured peak of "
            f"{format_bytes(profile.memory.replica_bytes)}"
        )
        stops.append(StopReplica(replica_id=replica.replica_id, drain_s=OVERWEIGHT_DRAIN_S, why=why))
    return stops
