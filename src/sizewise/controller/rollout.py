"""Changing the version of a model: the new one proves itself beside the old one, then takes over, or is given up."""

from collections.abc import Sequence

from sizewise.controller.records import ModelRecord
from sizewise.core.fleet import ReplicaState
from sizewise.protocols.backend import ReplicaObserved

_TRIES = 2
"""Deaths of a candidate's replica after which the version is given up: one may be somebody's kill."""
_SETTLED_S = 3.0


def advance(record: ModelRecord, replicas: Sequence[ReplicaObserved], *, now_s: float, unix_s: float) -> ModelRecord:
    """The record after a look at ``replicas``; the same one when nothing is to be changed.

    A candidate's replica is loaded with a self-check, so one that is ready has answered. The switch waits until as
    many are ready as serve now, or until no more are coming: capacity must not dip.
    """
    if record.candidate is None:
        return record
    own = [r for r in replicas if r.model == record.name and r.version == record.candidate.version]
    for replica in own:
        if replica.state is ReplicaState.FAILED or replica.restarts >= _TRIES:
            return record.abandoned(replica.last_exit or "it did not load", unix_s)
    ready = [r for r in own if r.state is ReplicaState.READY]
    serving = sum(
        r.model == record.name and r.version == record.serving.version and r.state is ReplicaState.READY
        for r in replicas
    )
    if ready and (len(ready) >= serving or _no_more(own, now_s)):
        return record.switched(unix_s)
    return record


def _no_more(own: list[ReplicaObserved], now_s: float) -> bool:
    """All that were started are ready, and for a while no other was started: there is no room for more."""
    return all(r.state is ReplicaState.READY and now_s - r.since_s >= _SETTLED_S for r in own)
