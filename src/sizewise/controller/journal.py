"""Decisions worth keeping: those that changed something, or whose numbers moved; rendered when somebody asks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sizewise.controller.report import Explanation, Refusal
from sizewise.controller.state import DecisionRecord, StateStore
from sizewise.core.fleet import ModelDecision, ModelView, Reason, ReplicaState
from sizewise.core.reasons import render
from sizewise.protocols.backend import Action, HoldWarm, ReleaseWarm, Snapshot, StartReplica, StopReplica, TakeForm

_MOVED = 2.0
"""A number of the reason that changed by this factor is worth a line of its own ..."""
_MOVED_EVERY_S = 10.0
"""... but not more often than this."""


@dataclass(frozen=True, slots=True)
class _Last:
    decision: ModelDecision
    version: str
    at_s: float


class Journal:
    def __init__(self, state: StateStore) -> None:
        self._state = state
        self._last: dict[str, _Last] = {}

    def due(self, decided: ModelDecision, view: ModelView, *, effect: Sequence[str], now_s: float) -> bool:
        """Whether this decision is to be kept; if so, later ones are compared with it."""
        last = self._last.get(decided.name)
        changed = last is None or bool(effect) or last.version != view.version or not _alike(last.decision, decided)
        moved = last is not None and now_s - last.at_s >= _MOVED_EVERY_S and _moved(last.decision, decided)
        if changed or moved:
            self._last[decided.name] = _Last(decided, view.version, now_s)
        return changed or moved

    def forget(self, model: str) -> None:
        self._last.pop(model, None)

    async def keep(self, records: Sequence[DecisionRecord]) -> None:
        await self._state.add_decisions(records)

    async def explain(self, model: str, limit: int) -> list[Explanation]:
        """The newest first."""
        return [explained(record) for record in await self._state.decisions(model, limit)]


def record_of(decided: ModelDecision, view: ModelView, *, effect: Sequence[str], at_unix_s: float) -> DecisionRecord:
    states = [replica.state for replica in view.replicas]
    return DecisionRecord(
        model=decided.name,
        at_unix_s=at_unix_s,
        version=view.version,
        desired=decided.desired,
        wanted=decided.wanted,
        ready=states.count(ReplicaState.READY),
        loading=states.count(ReplicaState.LOADING) + states.count(ReplicaState.STARTING),
        reason=_storable(decided.reason),
        inputs=_inputs(view),
        refused=tuple(replace(r, reason=_storable(r.reason)) for r in decided.refused),
        effect=tuple(effect),
        expected_attainment=decided.expected_attainment,
    )


def explained(record: DecisionRecord) -> Explanation:
    return Explanation(
        at_unix_s=record.at_unix_s,
        version=record.version,
        desired=record.desired,
        wanted=record.wanted,
        ready=record.ready,
        loading=record.loading,
        code=record.reason.code,
        reason=render(record.reason),
        numbers=dict(record.reason.numbers),
        inputs=record.inputs,
        refused=tuple(Refusal(desired=r.desired, reason=render(r.reason), code=r.reason.code) for r in record.refused),
        effect=record.effect,
        expected_attainment=record.expected_attainment,
    )


def effects_of(actions: Sequence[Action], snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """Actions in words, by model."""
    models = {replica.replica_id: replica.model for replica in snapshot.replicas}
    effects: dict[str, tuple[str, ...]] = {}
    for action in actions:
        if isinstance(action, StartReplica):
            spec = action.spec
            where = f" in host {spec.host}" if spec.host else ""
            instead = f" in place of {spec.replaces}" if spec.replaces else ""
            name, words = spec.model, f"start {spec.replica_id} of version {spec.version}{where}{instead}"
        elif isinstance(action, StopReplica):
            name, words = models.get(action.replica_id, ""), f"stop {action.replica_id}: {action.why}"
        elif isinstance(action, TakeForm):
            name, words = models.get(action.replica_id, ""), f"have {action.replica_id} take up form {action.form.name}"
        elif isinstance(action, HoldWarm):
            name, words = action.model, "keep its files in memory"
        elif isinstance(action, ReleaseWarm):
            name, words = action.model, "let its files go from memory"
        else:
            continue
        effects[name] = (*effects.get(name, ()), words)
    return effects


def _inputs(view: ModelView) -> Mapping[str, float | int | str | None]:
    demand, profile = view.demand, view.profile
    # Only where there is one: most models have none
    foreseen = {"forecast_per_s": demand.forecast_per_s} if demand.forecast_per_s else {}
    return {
        "burst_per_s": demand.burst_per_s,
        "stable_per_s": demand.stable_per_s,
        "queued": demand.queued,
        "held": demand.held,
        "in_flight": demand.in_flight,
        "idle_s": _finite(demand.idle_s),
        "attainment": demand.attainment,
        "load_s": profile.load.total_s,
        "reload_s": profile.reload_s,
        "warm_bytes": view.warm_bytes,
        "p50_s": profile.curve.p50_s(1),
        "replica_bytes": profile.memory.replica_bytes,
        "mapped_bytes": profile.memory.mapped_bytes,
        "source": str(profile.source),
        **foreseen,
    }


def _storable(reason: Reason) -> Reason:
    """JSON knows no infinity; what has never been is written as a word."""
    if all(isinstance(value, str) or math.isfinite(value) for value in reason.numbers.values()):
        return reason
    numbers = {
        name: value if isinstance(value, str) or math.isfinite(value) else "ever"
        for name, value in reason.numbers.items()
    }
    return replace(reason, numbers=numbers)


def _finite(value: float) -> float | None:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else None


def _alike(old: ModelDecision, new: ModelDecision) -> bool:
    return (
        old.desired == new.desired
        and old.wanted == new.wanted
        and old.reason.code == new.reason.code
        and [(r.desired, r.reason.code) for r in old.refused] == [(r.desired, r.reason.code) for r in new.refused]
    )


def _moved(old: ModelDecision, new: ModelDecision) -> bool:
    """Ages and remaining times always move; what is compared are rates, sizes and load times."""
    for name, value in new.reason.numbers.items():
        before = old.reason.numbers.get(name)
        if name in {"idle_s", "left_s", "age_s", "ahead_s"} or isinstance(value, str) or isinstance(before, str):
            continue
        if before is None or max(value, before) > _MOVED * min(value, before):
            return True
    return False
