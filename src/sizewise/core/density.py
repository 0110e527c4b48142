"""Many small models in few processes: which replicas share one, with whom, and who moves.

Up to about a hundred small replicas keep a process each. Above that, or when memory is short, small replicas of one
runtime and one trust level share processes ("hosts"); two replicas of one model never do. Who grows beyond what its
company may take is found by halving, and whoever has brought a host down stays alone.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from sizewise.core.budget import OVERWEIGHT, OVERWEIGHT_LEAST_BYTES, replica_bytes
from sizewise.core.fleet import FleetDecision, FleetView, HostView, ModelView, Reason, ReplicaState, ReplicaView
from sizewise.core.reasons import because
from sizewise.core.sharing import LIVING, OWN_PROCESSES, busy_share, hosted_bytes, hosted_profile, why_alone, why_share
from sizewise.core.units import MIB

MOST_REPLICAS = 128
"""In one host: what starts again when one of them brings it down."""
MOST_BYTES = 128 * MIB
FIRST_REPLICAS = 16
"""A second host is worth its memory from here on, up to one for each core."""
HOST_BYTES = 6 * MIB
"""Private memory of a host before its first model, pages that it stops sharing with its warm parent included."""
UNEXPLAINED = 2
"""Ends of a host that nobody is known to have caused, after which it is halved."""
MOVES_AT_ONCE = 16
"""Moves under way at a time."""
SETTLED_S = 2.0
"""A replica has been ready for so long before it is moved."""
LOADS_AT_ONCE = 256
"""A load of a small model takes milliseconds: none need wait for a decision that comes after those of others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A replica gets a successor elsewhere, and goes once that one is ready."""

    model: str
    replica_id: str
    version: str
    host: str
    """Where its successor runs; empty: in a process of its own."""
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """``hosts`` by model: one for each replica that the decision starts, empty for a process of its own. A host that
    does not exist yet has a name that begins with ``+``."""

    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()
    stops: tuple[str, ...] = ()
    """Replicas whose successor has taken over, and successors that do not come up."""
    reasons: Mapping[str, Reason] = field(default_factory=dict)
    """Of every model that runs or starts: why it shares a process, or does not."""
    homes: "Homes | None" = field(default=None, compare=False, repr=False)
    """Where others would start, until the next decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A fleet as ``decide`` is to see it, and what that is based on."""

    full: FleetView
    view: FleetView
    """Models that share are charged what they add to a host; of a replica and its successor only one is there."""
    sharing: Reason | None
    """Why small replicas share processes now; None when they do not."""
    alone: Mapping[str, Reason]
    """Models that may not share, and why."""
    superseded: tuple[str, ...]
    """Replicas whose successor has taken over."""


def pack(view: FleetView) -> Packed:
    """To be called before ``decide``; ``place`` follows it."""
    alone = {model.name: reason for model in view.models if (reason := why_alone(model)) is not None}
    sharing = why_share(view, alone)
    superseded: list[str] = []
    models, extra = [], 0
    for model in view.models:
        seen = model
        hidden = _hidden(model)
        if hidden:
            superseded += [r.replica_id for r, gone in hidden if gone]
            out = {r.replica_id for r, _ in hidden}
            seen = replace(seen, replicas=tuple(r for r in model.replicas if r.replica_id not in out))
            extra += sum(replica_bytes(model, r) for r, _ in hidden)
        if sharing is not None and model.name not in alone:
            seen = replace(seen, profile=hosted_profile(seen.profile))
            if seen.candidate_profile is not None:
                seen = replace(seen, candidate_profile=hosted_profile(seen.candidate_profile))
        models.append(seen)
    machine = view.machine
    if sharing is not None:
        extra += HOST_BYTES
        machine = replace(machine, load_slots=max(machine.load_slots, LOADS_AT_ONCE))
    if extra:
        machine = replace(machine, overhead_bytes=machine.overhead_bytes + extra)
    packed = replace(view, models=tuple(models), machine=machine)
    return Packed(full=view, view=packed, sharing=sharing, alone=alone, superseded=tuple(superseded))


def place(packed: Packed, decision: FleetDecision) -> Placement:
    """Deterministic, and independent of the order of the models. Moves nobody without need."""
    homes = Homes(packed, decision)
    starting = sorted((d for d in decision.models if d.start > 0), key=lambda d: d.name)
    hosts = {d.name: tuple(homes.home(d.name) for _ in range(d.start)) for d in starting}
    moves = homes.moves()
    return Placement(
        hosts=hosts,
        moves=moves,
        stops=(*packed.superseded, *homes.stuck()),
        reasons=homes.reasons(hosts),
        homes=homes,
    )


def allowance_bytes(members: Iterable[int]) -> int:
    """Private memory that a host may have, from what each of its replicas is expected to add."""
    return HOST_BYTES + round(OVERWEIGHT * sum(members)) + OVERWEIGHT_LEAST_BYTES


def _hidden(model: ModelView) -> list[tuple[ReplicaView, bool]]:
    """Of a replica and its successor one is not to be counted: (replica, whether it is the one that goes)."""
    if not any(r.replaces for r in model.replicas):
        return []
    known = {r.replica_id: r for r in model.replicas}
    hidden = []
    for successor in model.replicas:
        old = known.get(successor.replaces)
        if old is None or old.state is ReplicaState.DRAINING:
            continue
        took_over = successor.state is ReplicaState.READY
        hidden.append((old, True) if took_over else (successor, False))
    return hidden


@dataclass(slots=True)
class _Host:
    """One host, as it fills up."""

    name: str
    runtime: str
    models: set[str] = field(default_factory=set)
    members: list[tuple[ModelView, ReplicaView]] = field(default_factory=list)
    bytes: int = 0
    busy: float = 0.0
    closed: bool = False
    """Nobody joins: it is being emptied."""

    @property
    def rank(self) -> tuple[float, int, str]:
        return (round(self.busy, 2), len(self.models), self.name)


class Homes:
    """All hosts of a fleet, as they fill up while replicas are put into them."""

    def __init__(self, packed: Packed, decision: FleetDecision) -> None:
        self._packed = packed
        self._models = {model.name: model for model in packed.full.models}
        self._seen = {host.host: host for host in packed.full.hosts}
        self._stopped = {replica_id for d in decision.models for replica_id in d.stop} | set(packed.superseded)
        self._hosts: dict[str, _Host] = {}
        self._new = 0
        self._small: dict[str, int] = {}
        for model in sorted(packed.full.models, key=lambda m: m.name):
            for replica in model.replicas:
                self._count(model, replica)
        for started in decision.models:
            if started.start > 0:
                runtime = self._runtime(started.name)
                self._small[runtime] = self._small.get(runtime, 0) + started.start
        self._moving = [r for m in self._models.values() for r in m.replicas if r.replaces]
        self._room = MOVES_AT_ONCE - sum(r.state is not ReplicaState.READY for r in self._moving)
        self._broken = {name: why for name, host in self._hosts.items() if (why := self._why_halve(host)) is not None}
        for name in self._broken:
            self._hosts[name].closed = True

    @property
    def small(self) -> int:
        """Replicas that may share, those that start included."""
        return sum(self._small.values())

    def rename(self, names: Mapping[str, str]) -> None:
        """Hosts that have begun to exist under other names."""
        for old, new in names.items():
            self._hosts[new] = self._hosts.pop(old)
            self._hosts[new].name = new

    def one_more(self, name: str) -> str:
        """Where a replica starts that the decision did not know of."""
        runtime = self._runtime(name)
        self._small[runtime] = self._small.get(runtime, 0) + 1
        return self.home(name)

    def home(self, name: str) -> str:
        """Where a replica of this model starts."""
        model = self._models[name]
        if self._packed.sharing is None or name in self._packed.alone:
            return ""
        host = self._best(model)
        self._join(host, model)
        return host.name

    def moves(self) -> tuple[Move, ...]:
        """Most urgent first: hosts that have grown, replicas that must not share, and those that might."""
        found: list[Move] = []
        for move in (*self._halvings(), *self._exits(), *self._entries()):
            if len(found) >= self._room:
                break
            found.append(move)
        return tuple(found)

    def stuck(self) -> list[str]:
        """Successors that do not come up: what they were to replace stays."""
        return [r.replica_id for r in self._moving if r.state is ReplicaState.FAILED]

    def reasons(self, hosts: Mapping[str, tuple[str, ...]]) -> dict[str, Reason]:
        sharing = self._packed.sharing
        reasons = {}
        for name, model in self._models.items():
            if not model.replicas and name not in hosts:
                continue
            hosted = any(r.host for r in model.replicas) or any(hosts.get(name, ()))
            if name in self._packed.alone:
                reasons[name] = self._packed.alone[name]
            elif sharing is not None:
                reasons[name] = sharing
            else:
                reasons[name] = because("settled") if hosted else because("few", most=OWN_PROCESSES)
        return reasons

    def _count(self, model: ModelView, replica: ReplicaView) -> None:
        if replica.state in LIVING and model.name not in self._packed.alone:
            runtime = self._runtime(model.name)
            self._small[runtime] = self._small.get(runtime, 0) + (not replica.replaces)
        if not replica.host:
            return
        # The next replica of a model may be of another runtime than this one: then a load-ready form was made
        seen = self._seen.get(replica.host)
        runtime = (seen.runtime if seen else "") or self._runtime(model.name)
        host = self._hosts.setdefault(replica.host, _Host(replica.host, runtime))
        # One that leaves may be there still: its model does not come back to this process before it has gone
        host.models.add(model.name)
        host.bytes += replica.memory_bytes or hosted_bytes(model.profile)
        if replica.state in LIVING and replica.replica_id not in self._stopped:
            host.members.append((model, replica))
            host.busy += busy_share(model)

    def _runtime(self, name: str) -> str:
        return self._models[name].profile.facts.runtime or ""

    def _best(self, model: ModelView) -> _Host:
        """The least busy host with room; a new one while there are fewer than this many replicas are worth."""
        runtime = model.profile.facts.runtime or ""
        open_hosts = [h for h in self._hosts.values() if h.runtime == runtime and not h.closed]
        size = hosted_bytes(model.profile)
        fitting = [
            h
            for h in open_hosts
            if model.name not in h.models and len(h.models) < MOST_REPLICAS and h.bytes + size <= MOST_BYTES
        ]
        small = self._small.get(runtime, 0)
        worth = max(
            min(math.ceil(self._packed.full.machine.cpus), math.ceil(small / FIRST_REPLICAS)),
            math.ceil(small / MOST_REPLICAS),
        )
        if not fitting or len(open_hosts) < worth:
            return self._opened(runtime)
        return min(fitting, key=lambda h: h.rank)

    def _opened(self, runtime: str) -> _Host:
        name = f"+{self._new}"
        self._new += 1
        self._hosts[name] = host = _Host(name, runtime)
        return host

    def _join(self, host: _Host, model: ModelView) -> None:
        host.models.add(model.name)
        host.bytes += hosted_bytes(model.profile)
        host.busy += busy_share(model)

    def _why_halve(self, host: _Host) -> Reason | None:
        seen = self._seen.get(host.name, HostView(host=host.name))
        allowed = allowance_bytes(hosted_bytes(m.profile) for m, _ in host.members)
        if seen.memory_bytes > allowed:
            return because("host_bytes", used_bytes=seen.memory_bytes, most_bytes=allowed)
        if seen.unexplained >= UNEXPLAINED:
            return because("host_ends", ends=seen.unexplained)
        return None

    def _halvings(self) -> Iterator[Move]:
        moving = {r.replaces for r in self._moving}
        for name, why in sorted(self._broken.items()):
            host = self._hosts[name]
            members = sorted(host.members, key=lambda pair: pair[1].replica_id)
            if any(r.replica_id in moving for _, r in members):
                continue  # under way
            self._room = max(self._room, len(members))  # together or not at all: halves of a half prove nothing
            middle = (len(members) + 1) // 2
            for half in filter(None, (members[:middle], members[middle:])):
                # Of two either may be the one. Who was there by itself is, and is judged in a process of its own
                to = self._opened(host.runtime).name if len(members) > 1 else ""
                for model, replica in half:
                    yield _move(model, replica, host=to, reason=why)

    def _exits(self) -> Iterator[Move]:
        for name in sorted(self._packed.alone):
            model = self._models[name]
            for replica in model.replicas:
                if replica.host and replica.host not in self._broken and self._may_move(model, replica):
                    yield _move(model, replica, host="", reason=self._packed.alone[name])

    def _entries(self) -> Iterator[Move]:
        sharing = self._packed.sharing
        if sharing is None:
            return
        for name, model in sorted(self._models.items()):
            if name in self._packed.alone or model.candidate is not None:
                continue
            for replica in model.replicas:
                if not replica.host and not replica.outstanding and self._may_move(model, replica):
                    host = self._best(model)
                    self._join(host, model)
                    yield _move(model, replica, host=host.name, reason=sharing)

    def _may_move(self, model: ModelView, replica: ReplicaView) -> bool:
        """Ready and settled, not on its way out, and not on the move already."""
        now_s = self._packed.full.now_s
        return (
            replica.state is ReplicaState.READY
            and now_s - replica.ready_at_s >= SETTLED_S
            and replica.replica_id not in self._stopped
            and replica.version == model.version
            and not any(r.replaces == replica.replica_id for r in self._moving)
        )


def _move(model: ModelView, replica: ReplicaView, *, host: str, reason: Reason) -> Move:
    return Move(model=model.name, replica_id=replica.replica_id, version=replica.version, host=host, reason=reason)
