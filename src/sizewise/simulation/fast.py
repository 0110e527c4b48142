"""``Pools`` on the compiled kernel: the same answers as ``plain``, several times as fast."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sizewise.simulation import kernel as k
from sizewise.simulation.pools import Counts, PoolSetup, Record
from sizewise.simulation.scenario import Dispatch
from sizewise.simulation.workload import Block

_FIRST_ROOM = 8


class FastPools:
    def __init__(self, setups: Sequence[PoolSetup], record: Record) -> None:
        count = len(setups)
        self._f = np.zeros((count, k.MODEL_FLOATS))
        self._i = np.zeros((count, k.MODEL_INTS), dtype=np.int64)
        self._members = np.zeros((count, _FIRST_ROOM), dtype=np.int64)
        self._most = max(setup.max_in_flight for setup in setups)
        self._rf = np.zeros((0, k.REPLICA_FLOATS))
        self._ri = np.zeros((0, k.REPLICA_INTS), dtype=np.int64)
        self._times = np.zeros((0, self._most))
        self._aheads = np.zeros((0, self._most), dtype=np.int64)
        self._expected = np.zeros((0, self._most))
        self._where: list[int] = []
        self._free: list[int] = []
        self._setups = tuple(setups)
        self._draws = _draws(setups)
        self._record = record
        self._counted_from_s = float(record.counted_from_s)
        self._arrivals = np.empty(0)
        self._fill(setups)
        # Memory is taken when it is written to: most models of a long catalogue never have a queue
        room = sum(each.max_queue + 1 for each in setups)
        self._queue_s, self._queue_ahead = np.zeros(room), np.zeros(room, dtype=np.int64)
        self._queue_expected = np.zeros(room)
        self._grow_replicas(max(16, count))

    @property
    def record(self) -> Record:
        return self._record

    def feed(self, block: Block) -> None:
        self._arrivals = block.times_s
        self._i[:, k.AT] = block.offsets[:-1]
        self._i[:, k.END] = block.offsets[1:]

    def advance(self, model: int, until_s: float) -> None:
        if self._f[model, k.NOW] < until_s:
            self._advance(model, model + 1, until_s)

    def advance_all(self, until_s: float) -> None:
        self._advance(0, len(self._setups), until_s)

    def add(self, model: int) -> int:
        if not self._free:
            self._grow_replicas(2 * len(self._rf))
        r = self._free.pop()
        self._where[r] = model
        self._rf[r] = (np.inf, 0.0, 0.0, self._f[model, k.NOW], 1.0)
        self._ri[r] = 0
        place, count = int(self._i[model, k.READY]), int(self._i[model, k.POOL])
        if count >= self._members.shape[1]:
            wider = np.zeros((len(self._setups), 2 * self._members.shape[1]), dtype=np.int64)
            wider[:, : self._members.shape[1]] = self._members
            self._members = wider
        row = self._members[model]
        row[place + 1 : count + 1] = row[place:count].copy()
        row[place] = r
        self._i[model, k.POOL] += 1
        self._i[model, k.READY] += 1
        if self._i[model, k.Q_LEN]:
            k.welcome(self._arrays(), model)
        return r

    def drain(self, slot: int) -> None:
        model = self._where[slot]
        self._to_the_end(model, slot)
        self._ri[slot, k.LEAVES] = 1
        self._i[model, k.READY] -= 1
        self._i[model, k.OUT_READY] -= self._ri[slot, k.OUT]

    def drop(self, slot: int) -> None:
        model = self._where[slot]
        self._to_the_end(model, slot)
        self._i[model, k.POOL] -= 1
        self._free.append(slot)

    def slow(self, slot: int, factor: float) -> None:
        self._rf[slot, k.FACTOR] = factor

    def outstanding(self, slot: int) -> int:
        return int(self._ri[slot, k.OUT])

    def busy_s(self, slot: int) -> float:
        busy_s = float(self._rf[slot, k.BUSY])
        if self._ri[slot, k.RUNS]:
            busy_s += float(self._f[self._where[slot], k.NOW] - self._rf[slot, k.BEGUN])
        return busy_s

    def idle_since_s(self, slot: int) -> float:
        return float(self._rf[slot, k.IDLE])

    def counts(self, model: int) -> Counts:
        row = self._i[model].tolist()
        arrived = row[k.ARRIVED]
        return Counts(
            arrived=arrived,
            served=row[k.SERVED],
            shed=row[k.SHED],
            failed=row[k.FAILED],
            within=row[k.WITHIN],
            held=row[k.HELD],
            queued=row[k.Q_LEN],
            outstanding=row[k.OUT_ALL],
            last_arrival_s=float(self._f[model, k.LAST]) if arrived else None,
            concurrency_s=float(self._f[model, k.AREA]),
        )

    def next_arrival_s(self, model: int) -> float:
        at, end = self._i[model, k.AT], self._i[model, k.END]
        return float(self._arrivals[at]) if at < end else float("inf")

    def _arrays(self) -> k.Arrays:
        record = self._record
        return k.Arrays(
            f=self._f,
            i=self._i,
            rf=self._rf,
            ri=self._ri,
            times=self._times,
            aheads=self._aheads,
            expected=self._expected,
            members=self._members,
            queue_s=self._queue_s,
            queue_ahead=self._queue_ahead,
            queue_expected=self._queue_expected,
            curves=self._draws[0],
            tables=self._draws[1],
            latency=record.latency,
            in_time=record.in_time_MT,
            ended=record.ended_MT,
            counted_from_s=self._counted_from_s,
            arrivals=self._arrivals,
        )

    def _advance(self, first: int, last: int, until_s: float) -> None:
        k.advance(self._arrays(), (first, last), until_s)

    def _to_the_end(self, model: int, slot: int) -> None:
        """Ready replicas keep their order; the one that goes is last."""
        count = int(self._i[model, k.POOL])
        row = self._members[model]
        place = row[:count].tolist().index(slot)
        row[place : count - 1] = row[place + 1 : count].copy()
        row[count - 1] = slot

    def _grow_replicas(self, count: int) -> None:
        old = len(self._rf)

        def longer(array: NDArray[Any]) -> NDArray[Any]:
            made = np.zeros((count, array.shape[1]), dtype=array.dtype)
            made[:old] = array
            return made

        self._rf, self._ri = longer(self._rf), longer(self._ri)
        self._times, self._aheads = longer(self._times), longer(self._aheads)
        self._expected = longer(self._expected)
        self._where += [0] * (count - old)
        self._free = list(range(count - 1, old - 1, -1)) + self._free

    def _fill(self, setups: Sequence[PoolSetup]) -> None:
        f, i, base = self._f, self._i, 0
        for m, each in enumerate(setups):
            service_s = max(each.service_s, 1e-6)
            f[m, k.SERVICE], f[m, k.AHEAD], f[m, k.EACH], f[m, k.WORST] = service_s, 1.0, service_s, 1.0
            f[m, k.ADMIT_SLO] = each.slo_s if each.sheds and each.slo_s is not None else -1.0
            f[m, k.SLO] = np.inf if each.slo_s is None else each.slo_s
            f[m, k.TIMEOUT], f[m, k.HOLD] = each.timeout_s, each.hold_s
            i[m, k.Q_BASE], i[m, k.Q_SIZE], i[m, k.QUEUE] = base, each.max_queue + 1, each.max_queue
            base += each.max_queue + 1
            i[m, k.DRAWN], i[m, k.BATCH], i[m, k.MOST] = each.first_factor, each.max_batch, each.max_in_flight
            i[m, k.ROBIN] = each.dispatch is Dispatch.ROUND_ROBIN
            i[m, k.CURVE], i[m, k.TABLE] = self._draws[2][m], self._draws[3][m]


def _draws(setups: Sequence[PoolSetup]) -> tuple[NDArray[np.float64], NDArray[np.float64], list[int], list[int]]:
    """Distinct curves and tables of factors, and which of them each model has."""
    tables: dict[int, int] = {}
    curves: dict[bytes, int] = {}
    longest = max(len(each.curve_s) for each in setups)
    which_table = [tables.setdefault(id(each.factors), len(tables)) for each in setups]
    which_curve = [curves.setdefault(each.curve_s.tobytes(), len(curves)) for each in setups]
    factors = {id(each.factors): each.factors for each in setups}
    rows = np.zeros((len(curves), longest))
    for each, row in zip(setups, which_curve, strict=True):
        rows[row, : len(each.curve_s)] = each.curve_s
    return rows, np.vstack([factors[key] for key in tables]), which_curve, which_table
