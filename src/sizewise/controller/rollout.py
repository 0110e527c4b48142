"""Changing the version of a model: the new one proves itself beside the old one, then takes over, or is given up."""

from collections.abc import Iterable

from sizewise.controller.records import ModelRecord
from sizewise.core.fleet import ReplicaState
from sizewise.protocols.backend import ReplicaObserved

_TRIES = 2
"""Deaths of a candidate's replica after which the version is given up: one may be somebody's kill."""


def advance(record: ModelRecord, replicas: Iterable[ReplicaObserved], now_unix_s: float) -> ModelRecord:
    """The record after a look at ``replicas``; the same one when nothing is to be changed.

    A candidate's replica is loaded with a self-check, so one that is ready has answered.
    """
    if record.candidate is None:
        return record
    own = [r for r in replicas if r.model == record.name and r.version == record.candidate.version]
    if any(r.state is ReplicaState.READY for r in own):
        return record.switched(now_unix_s)
    for replica in own:
        if replica.state is ReplicaState.FAILED or replica.restarts >= _TRIES:
            return record.abandoned(replica.last_exit or "it did not load", now_unix_s)
    return record
