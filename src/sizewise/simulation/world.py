"""Replicas of all models in simulated time: ordered, placed, loaded, ready, drained, gone; and what they cost."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

from sizewise.core.fleet import ReplicaState
from sizewise.core.profiles import LoadTime
from sizewise.simulation.machines import Ground, Machine
from sizewise.simulation.pools import Counts, Pools
from sizewise.simulation.scenario import SimModel
from sizewise.simulation.workload import Workload

SHARE_S = 1.0
"""How often the share of each replica in its machine's cores is looked at anew."""
SUPPLY = frozenset({ReplicaState.STARTING, ReplicaState.LOADING, ReplicaState.READY})


@dataclass(slots=True, eq=False)
class Replica:
    number: int
    replica_id: str
    model: int
    ordered_s: float
    since_s: float
    state: ReplicaState = ReplicaState.STARTING
    placed_s: float | None = None
    """None while there is no room; paid for from here on."""
    started_s: float | None = None
    where: str = ""
    """Machine that was decided on; empty: any."""
    machine: Machine | None = None
    slot: int = -1
    ready_s: float | None = None
    load: LoadTime | None = None
    cold: bool = False
    """Its model had no other when it was ordered."""


@dataclass(slots=True)
class Bill:
    """Summed up as replicas end; what runs still is added when it is asked for."""

    from_s: float
    replica_s: float = 0.0
    memory_byte_s: float = 0.0
    cold_starts: int = 0
    cold_s: float = 0.0
    changes: int = 0
    peak: int = 0
    cold_loads: list[tuple[int, float]] = field(default_factory=list)
    """(model, seconds from the order until ready) of every start from nothing."""


class World:
    def __init__(
        self,
        models: Sequence[SimModel],
        pools: Pools,
        *,
        ground: Ground,
        workload: Workload,
        seed: int,
        counted_from_s: float = 0.0,
    ) -> None:
        self.now_s = 0.0
        self.models = tuple(models)
        self.pools = pools
        self.ground = ground
        self.bill = Bill(counted_from_s)
        self.of_model: list[list[Replica]] = [[] for _ in models]
        """All that exist, in the order of their orders."""
        self.cold: set[int] = set(range(len(models)))
        """Models without supply."""
        self._workload = workload
        self._seed = seed
        self._block = 0
        self.block_end_s = 0.0
        self._pending: deque[Replica] = deque()
        self._events: list[tuple[float, int, int, object]] = []
        self._count = 0
        self._numbers = 0
        self._starts = [0] * len(models)
        self._draining: set[Replica] = set()
        self._reading: dict[int, Replica] = {}
        self._placed = 0
        self._busy_before: dict[int, float] = {}
        self._shares = ground.shares_cores
        self._next_share_s = SHARE_S
        self.before: list[Counts] = []
        """What had come of each model when counting began; empty where it began with time itself."""
        if counted_from_s > 0:
            self._at(counted_from_s, self._begin_counting)
        self._next_block()

    # -- what policies do -------------------------------------------------------------------------------------------

    def order(self, model: int, replica_id: str = "", *, where: str = "") -> Replica:
        """One more replica, from now on, on the machine ``where``."""
        self._numbers += 1
        number = self._numbers
        replica = Replica(number, replica_id or f"r{number}", model, self.now_s, self.now_s)
        replica.where = where
        replica.cold = model in self.cold
        self.cold.discard(model)
        self.of_model[model].append(replica)
        self.bill.changes += self.now_s >= self.bill.from_s
        if not self._place(replica):
            self._pending.append(replica)
        return replica

    def stop(self, replica: Replica) -> None:
        """What it has is finished; it gets nothing more."""
        if replica.state is ReplicaState.DRAINING:
            return
        self.bill.changes += self.now_s >= self.bill.from_s
        was, replica.state, replica.since_s = replica.state, ReplicaState.DRAINING, self.now_s
        if was is ReplicaState.READY:
            self.pools.advance(replica.model, self.now_s)
            self.pools.drain(replica.slot)
            if self.pools.outstanding(replica.slot):
                self._draining.add(replica)
            else:
                self._gone(replica, self.now_s)
        else:
            self._gone(replica, self.now_s)
        if not any(each.state in SUPPLY for each in self.of_model[replica.model]):
            self.cold.add(replica.model)

    def begin_ready(self, model: int, count: int) -> None:
        """Replicas that were there before time began."""
        for _ in range(count):
            replica = self.order(model)
            if replica.machine is None:
                self._pending.remove(replica)
                self.of_model[model].remove(replica)
                return
            replica.cold = False
            replica.started_s = 0.0
            self._ready(replica, 0.0)
        self.bill.changes, self.bill.cold_starts, self.bill.cold_s = 0, 0, 0.0

    # -- time -------------------------------------------------------------------------------------------------------

    def run_until(self, until_s: float) -> None:
        """Loads end and machines come. Requests wait to be looked at until somebody asks, or their model changes."""
        while self.now_s < until_s:
            stop_s = min(until_s, self.block_end_s)
            if self._shares:
                stop_s = min(stop_s, self._next_share_s)
            while self._events and self._events[0][0] <= stop_s:
                at_s, _, turn, what = heappop(self._events)
                self.now_s = max(self.now_s, at_s)
                self._happens(what, turn)
            self.now_s = stop_s
            if self._shares and stop_s >= self._next_share_s:
                self._next_share_s += SHARE_S
                self._share_cores()
            if stop_s >= self.block_end_s and self._block < self._workload.blocks:
                self.pools.advance_all(stop_s)
                self._next_block()
        self._reap()

    def next_cold_s(self, but: set[int]) -> tuple[float, int]:
        """(when, model) of the next request for a model without supply, in what is known of the future."""
        best = (float("inf"), -1)
        for model in self.cold:
            if model not in but:
                best = min(best, (self.pools.next_arrival_s(model), model))
        return best

    # -- what there is ----------------------------------------------------------------------------------------------

    def replicas(self) -> Iterator[Replica]:
        for own in self.of_model:
            yield from own

    def supply(self, model: int) -> list[Replica]:
        return [each for each in self.of_model[model] if each.state in SUPPLY]

    def paid_s(self) -> tuple[float, float]:
        """(replica-seconds, byte-seconds) up to now."""
        replica_s, byte_s = self.bill.replica_s, self.bill.memory_byte_s
        for replica in self.replicas():
            held_s, bytes_ = self._held(replica, self.now_s)
            replica_s, byte_s = replica_s + held_s, byte_s + held_s * bytes_
        return replica_s, byte_s

    def tally(self) -> tuple[int, int]:
        """(ready, loading) replicas, of those that have room."""
        ready = loading = 0
        for replica in self.replicas():
            ready += replica.state is ReplicaState.READY
            loading += replica.placed_s is not None and replica.state in {ReplicaState.STARTING, ReplicaState.LOADING}
        return ready, loading

    # -- inside -----------------------------------------------------------------------------------------------------

    def _next_block(self) -> None:
        block = self._workload.block(self._block)
        self._block += 1
        self.block_end_s = block.end_s if self._block < self._workload.blocks else float("inf")
        self.pools.feed(block)

    def _at(self, at_s: float, what: object, turn: int = 0) -> None:
        self._count += 1
        heappush(self._events, (at_s, self._count, turn, what))

    def _place(self, replica: Replica) -> bool:
        profile = self.models[replica.model].profile
        machine = self.ground.place(replica.model, profile, self.now_s, where=replica.where)
        if machine is None:
            ready_s = self.ground.next_ready_s(self.now_s)
            if ready_s is not None:
                self._at(ready_s, "machine")
            return False
        replica.machine, replica.placed_s = machine, self.now_s
        self._placed += 1
        if self.now_s >= self.bill.from_s:
            self.bill.peak = max(self.bill.peak, self._placed)
        number = self._starts[replica.model]
        self._starts[replica.model] += 1
        draws = np.random.default_rng((self._seed, 17, replica.model, number)).random(5)
        loading = self.models[replica.model].loading
        seconds = [stage.at(float(u)) for stage, u in zip(loading.stages, draws, strict=True)]
        replica.load = LoadTime(
            start_s=seconds[0] + seconds[1], fetch_s=seconds[2], load_s=seconds[3], warmup_s=seconds[4]
        )
        self._at(self.now_s + replica.load.start_s, replica)
        return True

    def _happens(self, what: object, turn: int) -> None:
        if isinstance(what, Machine):
            if what.loads.turn == turn:
                self._read(what)
            return
        if callable(what):
            what()
            return
        if not isinstance(what, Replica):
            self._retry()
            return
        if what.state in {ReplicaState.DRAINING, ReplicaState.READY}:
            return  # stopped meanwhile, or there from the beginning
        if what.state is ReplicaState.STARTING:
            self._begin_reading(what)
        else:
            self._ready(what, self.now_s)

    def _begin_counting(self) -> None:
        self.pools.advance_all(self.now_s)
        self.before = [self.pools.counts(model) for model in range(len(self.models))]

    def _begin_reading(self, replica: Replica) -> None:
        assert replica.load is not None, "drawn when it was placed"
        assert replica.machine is not None, "it has room"
        replica.state, replica.since_s, replica.started_s = ReplicaState.LOADING, self.now_s, self.now_s
        self._reading[replica.number] = replica
        replica.machine.loads.begin(replica.number, replica.load.fetch_s + replica.load.load_s, self.now_s)
        self._foresee(replica.machine)

    def _foresee(self, machine: Machine) -> None:
        coming = machine.loads.next_end()
        if coming is not None:
            self._at(coming[0], machine, machine.loads.turn)

    def _read(self, machine: Machine) -> None:
        """A load has read all it needs; what is left is its warm-up."""
        coming = machine.loads.next_end()
        if coming is None:
            return
        replica = self._reading.pop(coming[1])
        machine.loads.end(replica.number, self.now_s)
        self._foresee(machine)
        assert replica.load is not None, "drawn when it was placed"
        if replica.load.warmup_s > 0:
            self._at(self.now_s + replica.load.warmup_s, replica)
        else:
            self._ready(replica, self.now_s)

    def _ready(self, replica: Replica, now_s: float) -> None:
        replica.state, replica.since_s, replica.ready_s = ReplicaState.READY, now_s, now_s
        if replica.started_s is None:
            replica.started_s = now_s
        self.pools.advance(replica.model, now_s)
        replica.slot = self.pools.add(replica.model)
        if replica.cold and replica.ordered_s >= self.bill.from_s:
            took_s = now_s - replica.ordered_s
            self.bill.cold_starts += 1
            self.bill.cold_s += took_s
            self.bill.cold_loads.append((replica.model, took_s))

    def _retry(self) -> None:
        waiting, self._pending = self._pending, deque()
        for replica in waiting:
            if replica.state is not ReplicaState.DRAINING and not self._place(replica):
                self._pending.append(replica)

    def _reap(self) -> None:
        for replica in sorted(self._draining, key=lambda each: each.number):
            self.pools.advance(replica.model, self.now_s)
            if not self.pools.outstanding(replica.slot):
                self._draining.discard(replica)
                self._gone(replica, self.pools.idle_since_s(replica.slot))
        self.ground.tidy(self.now_s)
        if self._pending:
            self._retry()

    def _gone(self, replica: Replica, at_s: float) -> None:
        self.of_model[replica.model].remove(replica)
        held_s, bytes_ = self._held(replica, at_s)
        self.bill.replica_s += held_s
        self.bill.memory_byte_s += held_s * bytes_
        if replica.slot >= 0:
            self.pools.drop(replica.slot)
            self._busy_before.pop(replica.slot, None)
        machine = replica.machine
        if machine is None:
            if replica in self._pending:
                self._pending.remove(replica)
            return
        self._placed -= 1
        if self._reading.pop(replica.number, None) is not None:
            machine.loads.end(replica.number, self.now_s)
            self._foresee(machine)
        self.ground.leave(machine, replica.model, self.models[replica.model].profile, now_s=self.now_s)
        if self._pending:
            self._retry()

    def _held(self, replica: Replica, until_s: float) -> tuple[float, int]:
        if replica.placed_s is None:
            return 0.0, 0
        held_s = max(0.0, until_s - max(replica.placed_s, self.bill.from_s))
        return held_s, self.models[replica.model].profile.memory.replica_bytes

    def _share_cores(self) -> None:
        """Replicas of a machine whose cores are all wanted become slower alike; a load wants one core."""
        self.pools.advance_all(self.now_s)
        wanted: dict[int, float] = {}
        ready = [each for each in self.replicas() if each.slot >= 0 and each.machine is not None]
        for replica in ready:
            busy_s = self.pools.busy_s(replica.slot)
            threads = self.models[replica.model].profile.threads
            used = (busy_s - self._busy_before.get(replica.slot, 0.0)) / SHARE_S * threads
            self._busy_before[replica.slot] = busy_s
            wanted[id(replica.machine)] = wanted.get(id(replica.machine), 0.0) + used
        for replica in self._reading.values():
            wanted[id(replica.machine)] = wanted.get(id(replica.machine), 0.0) + 1.0
        for replica in ready:
            assert replica.machine is not None, "those without were left out"
            self.pools.slow(replica.slot, max(1.0, wanted[id(replica.machine)] / replica.machine.pool.cpus))
