"""What goes wrong with replicas: crash loops are parked, replicas that outgrow their measured peak are ended."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sizewise.controller.records import ModelRecord
from sizewise.core import backoff
from sizewise.core.backoff import CrashHistory
from sizewise.core.budget import overweight
from sizewise.core.fleet import ReplicaState
from sizewise.core.profiles import ModelProfile
from sizewise.core.units import format_bytes, format_seconds
from sizewise.protocols.backend import ReplicaObserved, StopReplica

OVERWEIGHT_DRAIN_S = 2.0
"""It is growing: what it has may finish, but not at leisure."""
OUT_OF_MEMORY = "out of memory"


@dataclass(slots=True)
class _Trouble:
    history: CrashHistory = field(default_factory=CrashHistory)
    seen: dict[str, float] = field(default_factory=dict)
    """Last death known, by replica."""
    peaks: dict[str, int] = field(default_factory=dict)
    """Most private bytes of each replica that was ready at the last look."""
    last_exit: str = ""


class Parking:
    """Which models are not started for now, because they die whenever they are (``core.backoff``)."""

    def __init__(self) -> None:
        self._models: dict[str, _Trouble] = {}

    def absorb(self, record: ModelRecord, replicas: Sequence[ReplicaObserved], *, now_s: float) -> None:
        """Look at the deaths of the version that serves; a candidate's are the rollout's business."""
        trouble = self._models.get(record.name)
        if trouble is None:
            if not replicas:
                return
            trouble = self._models[record.name] = _Trouble()
        own = [replica for replica in replicas if replica.version == record.serving.version]
        died = [replica for replica in own if _died_since(replica, trouble.seen)]
        if died:
            # However many went at once, it was one accident.
            trouble.last_exit = died[-1].last_exit or ""
            trouble.history = backoff.after_death(
                trouble.history,
                now_s,
                was_ready=any(replica.replica_id in trouble.peaks for replica in died),
                memory_bytes=max(trouble.peaks.get(replica.replica_id, replica.peak_bytes) for replica in died),
                out_of_memory=any(replica.last_exit == OUT_OF_MEMORY for replica in died),
            )
        ready = [replica for replica in own if replica.state is ReplicaState.READY]
        if ready and not died:
            trouble.history = backoff.after_ready(trouble.history, now_s)
        trouble.seen = {r.replica_id: r.last_exit_at_s for r in own if r.last_exit_at_s is not None}
        trouble.peaks = {r.replica_id: max(r.peak_bytes, r.memory_bytes) for r in ready}

    def until_s(self, now_s: float) -> Mapping[str, float]:
        """Models that are not to be started now: parked, or pausing between attempts."""
        found = {name: backoff.parked_until_s(trouble.history, now_s) for name, trouble in self._models.items()}
        return {name: until_s for name, until_s in found.items() if until_s is not None}

    def failure(self, model: str, now_s: float) -> str | None:
        """For people: why it is parked, and when it is tried again."""
        trouble = self._models.get(model, _Trouble())
        until_s = backoff.parked_until_s(trouble.history, now_s)
        if until_s is None or not backoff.is_parked(trouble.history, now_s):
            return None
        left = format_seconds(until_s - now_s)
        return f"it dies whenever it is started ({trouble.last_exit}): next try in {left}"

    def refusals(self, now_s: float) -> dict[str, str]:
        """For clients, by model: the same without a time, so that it need not be published every second."""
        return {
            model: f"model {model!r} cannot be started now ({trouble.last_exit}): it is tried again later"
            for model, trouble in self._models.items()
            if backoff.is_parked(trouble.history, now_s)
        }

    def last_exit(self, model: str) -> str | None:
        return self._models.get(model, _Trouble()).last_exit or None

    def memory_floors_bytes(self) -> dict[str, int]:
        """What to reserve for a replica, by model, learned from deaths by lack of memory."""
        known = {model: trouble.history.memory_floor_bytes for model, trouble in self._models.items()}
        return {model: floor_bytes for model, floor_bytes in known.items() if floor_bytes}

    def stops(
        self,
        replicas: Sequence[ReplicaObserved],
        records: Iterable[ModelRecord],
        profiles: Mapping[str, ModelProfile],
        *,
        now_s: float,
    ) -> list[StopReplica]:
        """Whatever is in trouble: parked, grown, hanging."""
        return [
            *stops_of_parked(replicas, self.refusals(now_s)),
            *self.end_overweight(replicas, records, profiles),
            *stops_of_hung(replicas, records, profiles),
        ]

    def end_overweight(
        self, replicas: Sequence[ReplicaObserved], records: Iterable[ModelRecord], profiles: Mapping[str, ModelProfile]
    ) -> list[StopReplica]:
        """Stops for replicas that outgrow what is known of them; what they hold is reserved for the next ones.

        ``profiles`` by the hash of the artifact.
        """
        floors_bytes, running = self.memory_floors_bytes(), {replica.model for replica in replicas}
        known = {}
        for record in records:
            if record.name not in running:
                continue
            for version in record.versions:
                profile = profiles[version.hash]
                memory = backoff.raised(profile.memory, floors_bytes.get(record.name, 0))
                same = memory is profile.memory
                known[record.name, version.version] = profile if same else replace(profile, memory=memory)
        stops = stops_of_overweight(replicas, known)
        ended = {stop.replica_id for stop in stops}
        for replica in replicas:
            if replica.replica_id in ended:
                trouble = self._models.setdefault(replica.model, _Trouble())
                floor_bytes = max(trouble.history.memory_floor_bytes, replica.memory_bytes)
                trouble.history = replace(trouble.history, memory_floor_bytes=floor_bytes)
        return stops

    def forgive(self, model: str) -> None:
        """Somebody changed something: try at once."""
        self._models.pop(model, None)


def _died_since(replica: ReplicaObserved, seen: Mapping[str, float]) -> bool:
    return replica.last_exit_at_s is not None and replica.last_exit_at_s > seen.get(replica.replica_id, float("-inf"))


def stops_of_parked(replicas: Iterable[ReplicaObserved], parked: Collection[str]) -> list[StopReplica]:
    """Replicas of parked models that do not answer: the backend would go on starting them."""
    return [
        StopReplica(replica_id=r.replica_id, drain_s=0.0, why="crash-looping")
        for r in replicas
        if r.model in parked and r.state not in {ReplicaState.READY, ReplicaState.DRAINING}
    ]


def stops_of_hung(
    replicas: Iterable[ReplicaObserved], records: Iterable[ModelRecord], profiles: Mapping[str, ModelProfile]
) -> list[StopReplica]:
    """Replicas that will never answer again: stuck in a call, or stopped. ``profiles`` by the hash of the artifact."""
    mute = [replica for replica in replicas if replica.mute_s > 0]
    if not mute:
        return []
    known = {(record.name, v.version): (record, profiles[v.hash]) for record in records for v in record.versions}
    stops: list[StopReplica] = []
    for replica in mute:
        if (replica.model, replica.version) not in known:
            continue
        record, profile = known[replica.model, replica.version]
        if backoff.hangs(profile.curve, mute_s=replica.mute_s, timeout_s=record.wants.timeout_s):
            why = f"it hangs: requests expired there, and it has answered nothing for {format_seconds(replica.mute_s)}"
            stops.append(StopReplica(replica_id=replica.replica_id, drain_s=0.0, why=why))
    return stops


def stops_of_overweight(
    replicas: Iterable[ReplicaObserved], profiles: Mapping[tuple[str, str], ModelProfile]
) -> list[StopReplica]:
    """``profiles`` are the measured ones by model and version, with what was learned from earlier ends as their peak:
    live figures would follow a leak and excuse it."""
    stops: list[StopReplica] = []
    for replica in replicas:
        profile = profiles.get((replica.model, replica.version))
        if profile is None or replica.state is not ReplicaState.READY or not overweight(profile, replica.memory_bytes):
            continue
        if not replica.settled or bool(replica.stage) is not bool(profile.form):
            continue  # it opens another session, or is not of what the profile was taken of
        why = (
            f"it holds {format_bytes(replica.memory_bytes)}, half more than its measured peak of "
            f"{format_bytes(profile.memory.replica_bytes)}"
        )
        stops.append(StopReplica(replica_id=replica.replica_id, drain_s=OVERWEIGHT_DRAIN_S, why=why))
    return stops
