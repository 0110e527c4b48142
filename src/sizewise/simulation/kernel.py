"""The same requests at the same replicas as ``plain``, compiled: all models of a scenario in plain arrays.

Imported only where numba is installed. Columns of the arrays have names here; rows are models (``m``) or replicas
(``r``); ``f`` are floats, ``i`` whole numbers. Rings hold what waits: arrival time, work ahead of it then, and what it
was then expected to take.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sizewise.core.admission import AIM, DEEPER, EVIDENCE, FORGET, HEED, MEMORY, OUTLIER, SHORT_QUEUE, TESTED, WORST_MAX
from sizewise.simulation.pools import LATENCY_BINS, LATENCY_LOW_S, MINUTE_S, PER_DECADE

# Models, floats
NOW, LAST, AREA, SERVICE, AHEAD, EACH, ADMIT_SLO, SLO, TIMEOUT, HOLD, WORST = range(11)
MODEL_FLOATS = 11
# Models, whole numbers
AT, END, Q_BASE, Q_SIZE, Q_HEAD, Q_LEN, POOL, TURN, CLOCK, DRAWN, CURVE, TABLE, BATCH, MOST, RECOVERING = range(15)
QUEUE, READY, OUT_READY, OUT_ALL, ARRIVED, SERVED, SHED, FAILED, WITHIN, HELD, ROBIN = range(15, 26)
MODEL_INTS = 26
# Replicas, floats
DONE, BEGUN, BUSY, IDLE, FACTOR = range(5)
REPLICA_FLOATS = 5
# Replicas, whole numbers
OUT, RUNS, HEAD, USED, LEAVES = range(5)
REPLICA_INTS = 5

_PER_LOG = PER_DECADE / math.log(10.0)
_EVIDENCE, _MEMORY, _OUTLIER, _SHORT = EVIDENCE, MEMORY, OUTLIER, SHORT_QUEUE
_DEEPER, _HEED, _FORGET, _AIM, _TESTED, _MAX = DEEPER, HEED, FORGET, AIM, TESTED, WORST_MAX


class Arrays(NamedTuple):
    """All there is, as the compiled functions pass it on."""

    f: NDArray[np.float64]
    i: NDArray[np.int64]
    rf: NDArray[np.float64]
    ri: NDArray[np.int64]
    times: NDArray[np.float64]
    """By replica: a ring of arrivals."""
    aheads: NDArray[np.int64]
    expected: NDArray[np.float64]
    members: NDArray[np.int64]
    """By model: ready replicas first, in the order in which they came, then those that leave."""
    queue_s: NDArray[np.float64]
    """The rings of all models, one after the other."""
    queue_ahead: NDArray[np.int64]
    queue_expected: NDArray[np.float64]
    curves: NDArray[np.float64]
    tables: NDArray[np.float64]
    latency: NDArray[np.int64]
    in_time: NDArray[np.int32]
    ended: NDArray[np.int32]
    counted_from_s: float
    arrivals: NDArray[np.float64]


@njit(cache=True)
def _expected_s(w, m, ahead):
    """Admission.expected_s."""
    return ahead * w.f[m, EACH] + w.f[m, SERVICE]


@njit(cache=True)
def _late(w, m):
    """Admission.check: whether to refuse."""
    f, i = w.f, w.i
    queued, ready = i[m, Q_LEN], i[m, READY]
    if queued >= i[m, QUEUE]:
        return True
    if ready <= 0:
        i[m, RECOVERING] = 1
        return False
    ahead = queued + i[m, OUT_READY]
    if i[m, RECOVERING] and queued == 0:
        i[m, RECOVERING] = 0
    if f[m, ADMIT_SLO] < 0 or ahead < _SHORT * ready or i[m, RECOVERING]:
        return False
    limit_s = _AIM * f[m, ADMIT_SLO] / f[m, WORST]
    if _expected_s(w, m, ahead) <= limit_s:
        return False
    soon = queued == 0 or _MEMORY * f[m, EACH] <= f[m, ADMIT_SLO]
    return not (soon and _expected_s(w, m, _EVIDENCE * f[m, AHEAD]) < limit_s)


@njit(cache=True)
def _learn(w, m, answer):
    """Admission.done."""
    f, (ahead, expected_s, seconds) = w.f, answer
    n = ahead + 1
    tested = f[m, ADMIT_SLO] >= 0 and expected_s >= _TESTED * f[m, ADMIT_SLO]
    if tested and seconds > f[m, WORST] * expected_s:
        f[m, WORST] += (min(seconds / expected_s, _MAX) - f[m, WORST]) / _HEED
    else:
        f[m, WORST] -= (f[m, WORST] - 1.0) / (_FORGET * n)
    f[m, AHEAD] += (n - f[m, AHEAD]) / (_DEEPER if n > f[m, AHEAD] else _MEMORY)
    f[m, EACH] += (min(max(seconds, 1e-6) / n, _OUTLIER * f[m, EACH]) - f[m, EACH]) / _MEMORY
    if ahead == 0:
        f[m, SERVICE] += (max(seconds, 1e-6) - f[m, SERVICE]) / 16.0


@njit(cache=True)
def _take(w, m):
    """Routing.take, or the next in turn; -1 when all are full."""
    i, ri, members = w.i, w.ri, w.members
    ready, most, best = i[m, READY], i[m, MOST], -1
    if i[m, ROBIN]:
        for step in range(ready):
            place = (i[m, TURN] + step) % ready
            if ri[members[m, place], OUT] < most:
                i[m, TURN] = place + 1
                best = members[m, place]
                break
    else:
        least, used = most, -1
        for place in range(ready):
            r = members[m, place]
            n = ri[r, OUT]
            if n < least or (n == least and n < most and ri[r, USED] > used):
                best, least, used = r, n, ri[r, USED]
    if best >= 0:
        i[m, CLOCK] += 1
        ri[best, USED] = i[m, CLOCK]
        ri[best, OUT] += 1
        i[m, OUT_READY] += 1
        i[m, OUT_ALL] += 1
    return best


@njit(cache=True)
def _put(w, r, request):
    """Behind what the replica has; it was counted already."""
    place = (w.ri[r, HEAD] + w.ri[r, OUT] - 1) % w.times.shape[1]
    w.times[r, place], w.aheads[r, place], w.expected[r, place] = request


@njit(cache=True)
def _begin(w, at, now_s):
    i, ri, (m, r) = w.i, w.ri, at
    batch = min(ri[r, OUT], i[m, BATCH])
    factor = w.tables[i[m, TABLE], i[m, DRAWN] % w.tables.shape[1]]
    i[m, DRAWN] += 1
    ri[r, RUNS] = batch
    w.rf[r, BEGUN] = now_s
    w.rf[r, DONE] = now_s + w.curves[i[m, CURVE], batch] * factor * w.rf[r, FACTOR]


@njit(cache=True)
def _expire(w, m, now_s):
    f, i = w.f, w.i
    while i[m, Q_LEN] > 0:
        place = i[m, Q_BASE] + i[m, Q_HEAD]
        wait_s = f[m, TIMEOUT] if w.queue_ahead[place] >= 0 else f[m, HOLD]
        if w.queue_s[place] + wait_s > now_s:
            return
        i[m, Q_HEAD] = (i[m, Q_HEAD] + 1) % i[m, Q_SIZE]
        i[m, Q_LEN] -= 1
        i[m, FAILED] += 1
        w.ended[m, int(w.queue_s[place] / MINUTE_S)] += 1


@njit(cache=True)
def _wait(w, m, request):
    i = w.i
    place = i[m, Q_BASE] + (i[m, Q_HEAD] + i[m, Q_LEN]) % i[m, Q_SIZE]
    w.queue_s[place], w.queue_ahead[place], w.queue_expected[place] = request
    i[m, Q_LEN] += 1


@njit(cache=True)
def _pump(w, m, now_s):
    i = w.i
    _expire(w, m, now_s)
    while i[m, Q_LEN] > 0:
        r = _take(w, m)
        if r < 0:
            return
        place = i[m, Q_BASE] + i[m, Q_HEAD]
        i[m, Q_HEAD] = (i[m, Q_HEAD] + 1) % i[m, Q_SIZE]
        i[m, Q_LEN] -= 1
        _put(w, r, (w.queue_s[place], w.queue_ahead[place], w.queue_expected[place]))
        _expire(w, m, now_s)


@njit(cache=True)
def _arrive(w, m, now_s):
    """The replica that begins to compute because of it, or -1."""
    i = w.i
    i[m, ARRIVED] += 1
    w.f[m, LAST] = now_s
    if i[m, Q_LEN] > 0:
        _expire(w, m, now_s)
    ready = i[m, READY]
    if _late(w, m) or (ready <= 0 and w.f[m, HOLD] <= 0):
        i[m, SHED] += 1
        w.ended[m, int(now_s / MINUTE_S)] += 1
        return -1
    if ready <= 0:
        i[m, HELD] += 1
        _wait(w, m, (now_s, -1, 0.0))
        return -1
    ahead = i[m, Q_LEN] + i[m, OUT_READY]
    request = (now_s, ahead, _expected_s(w, m, ahead))
    r = _take(w, m) if i[m, Q_LEN] == 0 else -1
    if r < 0:
        _wait(w, m, request)
        return -1
    _put(w, r, request)
    if w.ri[r, RUNS] > 0:
        return -1
    _begin(w, (m, r), now_s)
    return r


@njit(cache=True)
def _answer(w, m, request):
    arrived_s, ahead, expected_s, now_s = request
    i, minute, seconds = w.i, int(arrived_s / MINUTE_S), now_s - arrived_s
    w.ended[m, minute] += 1
    if ahead >= 0:
        _learn(w, m, (ahead, expected_s, seconds))
        if seconds > w.f[m, TIMEOUT]:
            i[m, FAILED] += 1
            return
    i[m, SERVED] += 1
    if seconds <= w.f[m, SLO]:
        i[m, WITHIN] += 1
        w.in_time[m, minute] += 1
    if arrived_s >= w.counted_from_s:
        place = int(math.log(max(seconds, LATENCY_LOW_S) / LATENCY_LOW_S) * _PER_LOG)
        w.latency[min(place, LATENCY_BINS - 1)] += 1


@njit(cache=True)
def _complete(w, at, now_s):
    i, ri, rf, (m, r) = w.i, w.ri, w.rf, at
    batch = ri[r, RUNS]
    for _ in range(batch):
        head = ri[r, HEAD]
        ri[r, HEAD] = (head + 1) % w.times.shape[1]
        _answer(w, m, (w.times[r, head], w.aheads[r, head], w.expected[r, head], now_s))
    ri[r, OUT] -= batch
    i[m, OUT_ALL] -= batch
    if ri[r, LEAVES] == 0:
        i[m, OUT_READY] -= batch
    rf[r, BUSY] += now_s - rf[r, BEGUN]
    ri[r, RUNS], rf[r, DONE], rf[r, IDLE] = 0, np.inf, now_s
    if ri[r, OUT] > 0:
        _begin(w, at, now_s)
    if i[m, Q_LEN] > 0:
        _pump(w, m, now_s)
    if ri[r, OUT] > 0 and ri[r, RUNS] == 0:
        _begin(w, at, now_s)


@njit(cache=True)
def _next_done(w, m):
    done_s, who = np.inf, -1
    for place in range(w.i[m, POOL]):
        r = w.members[m, place]
        if w.rf[r, DONE] < done_s:
            done_s, who = w.rf[r, DONE], r
    return done_s, who


@njit(cache=True)
def advance(w, models, until_s):
    """Models from the first up to the last of a pair, each from where it is to ``until_s``."""
    f, i = w.f, w.i
    for m in range(models[0], models[1]):
        now_s, area = f[m, NOW], 0.0
        if now_s >= until_s:
            continue
        done_s, who = _next_done(w, m)
        while True:
            arrival_s = w.arrivals[i[m, AT]] if i[m, AT] < i[m, END] else np.inf
            next_s = min(arrival_s, done_s)
            if next_s >= until_s:
                break
            area += (i[m, Q_LEN] + i[m, OUT_ALL]) * (next_s - now_s)
            now_s = next_s
            if done_s <= arrival_s:
                _complete(w, (m, who), now_s)
                done_s, who = _next_done(w, m)
            else:
                i[m, AT] += 1
                r = _arrive(w, m, now_s)
                if r >= 0 and w.rf[r, DONE] < done_s:
                    done_s, who = w.rf[r, DONE], r
        f[m, AREA] += area + (i[m, Q_LEN] + i[m, OUT_ALL]) * (until_s - now_s)
        f[m, NOW] = until_s


@njit(cache=True)
def welcome(w, m):
    """A replica was added: what waits goes to it."""
    now_s = w.f[m, NOW]
    _pump(w, m, now_s)
    for place in range(w.i[m, POOL]):
        r = w.members[m, place]
        if w.ri[r, OUT] > 0 and w.ri[r, RUNS] == 0:
            _begin(w, (m, r), now_s)
