"""Placement of replicas in processes: from what ``core.density`` says to actions, and what is learned on the way."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from sizewise.controller.reconcile import Surroundings, in_host, replica_spec
from sizewise.controller.registry import Registry
from sizewise.core.density import Placement
from sizewise.core.fleet import ModelView, Reason
from sizewise.core.reasons import render
from sizewise.protocols.backend import Action, ReplicaObserved, Snapshot, StartReplica, StopReplica

log = logging.getLogger(__name__)

FOUND_OUT = frozenset({"host_bytes", "host_ends"})
"""Whoever stands alone at the end of a halving stays alone."""


@dataclass(slots=True)
class Company:
    """What the controller remembers of who shares a process with whom."""

    reasons: Mapping[str, Reason] = field(default_factory=dict)
    """By model, as of the last decision."""
    _blamed: set[str] = field(default_factory=set)
    """Replicas whose guilt has been noted: a model that was deployed again since is not found guilty twice."""

    async def learn(self, registry: Registry, snapshot: Snapshot, placement: Placement) -> None:
        """Who shares processes, and who must not any more, until it is deployed again."""
        self.reasons = placement.reasons
        for name, why in {**_found_out(placement), **self._guilty(snapshot.replicas)}.items():
            record = registry.find(name)
            if record is not None and record.alone is None:
                log.warning("model %s stays alone: %s", name, why)
                await registry.put(replace(record, alone=why))

    def _guilty(self, replicas: Iterable[ReplicaObserved]) -> dict[str, str]:
        """Models that have brought down a process that others were in, and how, as far as that is news."""
        found = {}
        for replica in replicas:
            if replica.culprit and replica.replica_id not in self._blamed:
                self._blamed.add(replica.replica_id)
                found[replica.model] = f"its host ended while it executed ({replica.last_exit or 'status unknown'})"
        return found


def named(placement: Placement, new_id: Callable[[], str]) -> Placement:
    """With an id for every host that does not exist yet."""
    names: dict[str, str] = {}

    def name(host: str) -> str:
        return names.setdefault(host, new_id()) if host.startswith("+") else host

    hosts = {model: tuple(map(name, given)) for model, given in placement.hosts.items()}
    moves = tuple(replace(m, host=name(m.host)) for m in placement.moves)
    if placement.homes is not None:
        placement.homes.rename(names)
    return replace(placement, hosts=hosts, moves=moves)


def actions_of_moves(views: Mapping[str, ModelView], around: Surroundings) -> list[Action]:
    """Successors start; replicas whose successor has taken over, or does not come up, stop."""
    why = "another replica has its place, in another process"
    actions: list[Action] = [StopReplica(replica_id=each, why=why) for each in around.placement.stops]
    for move in around.placement.moves:
        record = around.records[move.model]
        version = record.version_of(move.version)
        if version is not None:
            spec = replica_spec(record, version, views[move.model].profile, around=around)
            spec = replace(spec, replica_id=around.new_id(), replaces=move.replica_id)
            actions.append(StartReplica(spec=in_host(spec, move.host)))
    return actions


def _found_out(placement: Placement) -> dict[str, str]:
    """Models that a halving leaves alone, and why."""
    return {m.model: render(m.reason) for m in placement.moves if not m.host and m.reason.code in FOUND_OUT}
