"""The general engine: each model's requests through the classes that the gateway itself routes and admits with."""

import math
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

from sizewise.core.admission import Admission
from sizewise.core.routing import Routing, Slot
from sizewise.simulation.pools import LATENCY_BINS, LATENCY_LOW_S, MINUTE_S, PER_DECADE, Counts, PoolSetup, Record
from sizewise.simulation.scenario import Dispatch
from sizewise.simulation.workload import Block

_PER_LOG = PER_DECADE / math.log(10.0)


class _Replica:
    __slots__ = ("begun_s", "busy_s", "done_s", "executing", "factor", "idle_since_s", "leaving", "slot", "waiting")

    def __init__(self, slot: Slot, now_s: float) -> None:
        self.slot = slot
        self.waiting: deque[tuple[float, int, float]] = deque()
        """(arrival, work ahead of it then, seconds expected then), those being computed first."""
        self.executing = 0
        self.factor = 1.0
        self.done_s = math.inf
        self.begun_s = now_s
        self.busy_s = 0.0
        self.idle_since_s = now_s
        self.leaving = False


class _RoundRobin(Routing):
    """One after the other, passing over those that are full."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        super().__init__()
        self._next = 0

    def take(self) -> Slot | None:
        slots = self.slots
        for step in range(len(slots)):
            place = (self._next + step) % len(slots)
            if slots[place].outstanding < slots[place].max_outstanding:
                self._next = place + 1
                return self._taken(slots[place])
        return None


class _Model:
    """One model's queue and replicas."""

    def __init__(self, setup: PoolSetup, record: Record, index: int) -> None:
        self.setup = setup
        self.now_s = 0.0
        self.routing = _RoundRobin() if setup.dispatch is Dispatch.ROUND_ROBIN else Routing()
        self.admission = Admission(
            max_queue=setup.max_queue,
            slo_s=setup.slo_s if setup.sheds else None,
            service_s=setup.service_s,
            timeout_s=setup.timeout_s,
        )
        self.queue: deque[tuple[float, int, float]] = deque()
        self.due: list[tuple[float, int, _Replica]] = []
        self.replicas: dict[int, _Replica] = {}
        self.arrivals: list[float] = []
        self.place = 0
        self.curve: list[float] = setup.curve_s.tolist()
        self.factors: list[float] = []
        self.drawn = setup.first_factor
        self.order = 0
        self.arrived = self.served = self.shed = self.failed = self.within = self.held = 0
        self.at_replicas = 0
        self.last_arrival_s: float | None = None
        self.concurrency_s = 0.0
        self.slo_s = math.inf if setup.slo_s is None else setup.slo_s
        self._record = record
        self.latency: list[int] = []
        """Counts of all models together."""
        self._in_time = [0] * record.in_time_MT.shape[1]
        self._ended = [0] * record.in_time_MT.shape[1]
        self._index = index

    def advance(self, until_s: float) -> None:
        arrivals, due = self.arrivals, self.due
        place, last = self.place, len(arrivals)
        now_s, area = self.now_s, 0.0
        while True:
            arrival_s = arrivals[place] if place < last else math.inf
            done_s = due[0][0] if due else math.inf
            if done_s <= arrival_s:
                if done_s >= until_s:
                    break
                area += (len(self.queue) + self.at_replicas) * (done_s - now_s)
                now_s = done_s
                self._complete(heappop(due)[2], now_s)
            else:
                if arrival_s >= until_s:
                    break
                area += (len(self.queue) + self.at_replicas) * (arrival_s - now_s)
                now_s = arrival_s
                place += 1
                self._arrive(now_s)
        if until_s > now_s:
            area += (len(self.queue) + self.at_replicas) * (until_s - now_s)
            now_s = until_s
        self.place, self.now_s = place, now_s
        self.concurrency_s += area

    def _arrive(self, now_s: float) -> None:
        self.arrived += 1
        self.last_arrival_s = now_s
        queue, routing = self.queue, self.routing
        if queue:
            self._expire(now_s)
        ready = len(routing.slots)
        queued, outstanding = len(queue), routing.outstanding
        if self.admission.check(queued, outstanding if ready else 0, ready) is not None:
            self._refuse(now_s)
            return
        if not ready:
            if self.setup.hold_s <= 0:
                self._refuse(now_s)
            else:
                self.held += 1
                queue.append((now_s, -1, 0.0))
            return
        ahead = queued + outstanding
        request = (now_s, ahead, self.admission.expected_s(ahead))
        if not queued and (slot := routing.take()) is not None:
            replica: _Replica = slot.owner  # type: ignore[assignment]  # the core does not know what owns a slot
            replica.waiting.append(request)
            self.at_replicas += 1
            if not replica.executing:
                self._begin(replica, now_s)
        else:
            queue.append(request)

    def _begin(self, replica: _Replica, now_s: float) -> None:
        batch = min(len(replica.waiting), self.setup.max_batch)
        factors = self.factors
        seconds = self.curve[batch] * factors[self.drawn % len(factors)] * replica.factor
        self.drawn += 1
        replica.executing = batch
        replica.begun_s = now_s
        replica.done_s = now_s + seconds
        self.order += 1
        heappush(self.due, (replica.done_s, self.order, replica))

    def _complete(self, replica: _Replica, now_s: float) -> None:
        batch, waiting = replica.executing, replica.waiting
        record, admission, timeout_s = self._record, self.admission, self.setup.timeout_s
        for _ in range(batch):
            arrived_s, ahead, expected_s = waiting.popleft()
            seconds = now_s - arrived_s
            self.routing.done(replica.slot)
            if ahead >= 0:
                admission.done(ahead, expected_s, seconds)
            if ahead >= 0 and seconds > timeout_s:
                self.failed += 1
                self._end(arrived_s, in_time=False)
                continue
            self.served += 1
            in_time = seconds <= self.slo_s
            self.within += in_time
            self._end(arrived_s, in_time=in_time)
            if arrived_s >= record.counted_from_s:
                bin_ = int(math.log(max(seconds, LATENCY_LOW_S) / LATENCY_LOW_S) * _PER_LOG)
                self.latency[min(bin_, LATENCY_BINS - 1)] += 1
        self.at_replicas -= batch
        replica.busy_s += now_s - replica.begun_s
        replica.executing, replica.done_s, replica.idle_since_s = 0, math.inf, now_s
        if waiting:
            self._begin(replica, now_s)
        if self.queue:
            self._pump(now_s)
        if waiting and not replica.executing:
            self._begin(replica, now_s)

    def _pump(self, now_s: float) -> None:
        """Sends what waits to replicas that have room; what they then begin, the caller begins."""
        queue, routing = self.queue, self.routing
        self._expire(now_s)
        while queue and (slot := routing.take()) is not None:
            replica: _Replica = slot.owner  # type: ignore[assignment]
            replica.waiting.append(queue.popleft())
            self.at_replicas += 1
            self._expire(now_s)

    def _expire(self, now_s: float) -> None:
        queue, setup = self.queue, self.setup
        while queue:
            arrived_s, ahead, _ = queue[0]
            if arrived_s + (setup.timeout_s if ahead >= 0 else setup.hold_s) > now_s:
                return
            queue.popleft()
            self.failed += 1
            self._end(arrived_s, in_time=False)

    def _refuse(self, arrived_s: float) -> None:
        self.shed += 1
        self._end(arrived_s, in_time=False)

    def _end(self, arrived_s: float, *, in_time: bool) -> None:
        minute = int(arrived_s / MINUTE_S)
        self._ended[minute] += 1
        if in_time:
            self._in_time[minute] += 1

    def add(self, number: int) -> None:
        slot = Slot(str(number), self.setup.max_in_flight)
        replica = _Replica(slot, self.now_s)
        slot.owner = replica
        self.replicas[number] = replica
        self.routing.add(slot)
        if self.queue:
            self._pump(self.now_s)
        for each in self.replicas.values():
            if each.waiting and not each.executing:
                self._begin(each, self.now_s)

    def drain(self, number: int) -> None:
        self.replicas[number].leaving = True
        self.routing.remove(str(number))

    def write(self) -> None:
        """Into the common record."""
        record, index = self._record, self._index
        record.in_time_MT[index] += self._in_time
        record.ended_MT[index] += self._ended
        self._in_time = [0] * len(self._in_time)
        self._ended = [0] * len(self._ended)


class PlainPools:
    """``Pools`` of ordinary objects."""

    def __init__(self, setups: Sequence[PoolSetup], record: Record) -> None:
        self._latency = [0] * LATENCY_BINS
        self._models = [_Model(setup, record, i) for i, setup in enumerate(setups)]
        tables: dict[int, list[float]] = {}
        for model in self._models:
            factors = model.setup.factors
            if id(factors) not in tables:
                tables[id(factors)] = factors.tolist()
            model.factors = tables[id(factors)]
            model.latency = self._latency
        self._record = record
        self._where: list[_Model] = []

    @property
    def record(self) -> Record:
        for model in self._models:
            model.write()
        self._record.latency += self._latency
        self._latency[:] = [0] * LATENCY_BINS
        return self._record

    def feed(self, block: Block) -> None:
        for i, model in enumerate(self._models):
            model.arrivals = block.times_s[block.offsets[i] : block.offsets[i + 1]].tolist()
            model.place = 0

    def advance(self, model: int, until_s: float) -> None:
        self._models[model].advance(until_s)

    def advance_all(self, until_s: float) -> None:
        for model in self._models:
            model.advance(until_s)

    def add(self, model: int) -> int:
        slot = len(self._where)
        self._where.append(self._models[model])
        self._models[model].add(slot)
        return slot

    def drain(self, slot: int) -> None:
        self._where[slot].drain(slot)

    def drop(self, slot: int) -> None:
        del self._where[slot].replicas[slot]

    def slow(self, slot: int, factor: float) -> None:
        self._where[slot].replicas[slot].factor = factor

    def outstanding(self, slot: int) -> int:
        return len(self._where[slot].replicas[slot].waiting)

    def busy_s(self, slot: int) -> float:
        model = self._where[slot]
        replica = model.replicas[slot]
        return replica.busy_s + (model.now_s - replica.begun_s if replica.executing else 0.0)

    def idle_since_s(self, slot: int) -> float:
        return self._where[slot].replicas[slot].idle_since_s

    def counts(self, model: int) -> Counts:
        own = self._models[model]
        return Counts(
            arrived=own.arrived,
            served=own.served,
            shed=own.shed,
            failed=own.failed,
            within=own.within,
            held=own.held,
            queued=len(own.queue),
            outstanding=own.at_replicas,
            last_arrival_s=own.last_arrival_s,
            concurrency_s=own.concurrency_s,
        )

    def next_arrival_s(self, model: int) -> float:
        own = self._models[model]
        return own.arrivals[own.place] if own.place < len(own.arrivals) else math.inf
