"""Runs load against a target: open loop by a schedule, or closed loop by connections."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sizewise.loadgen.pool import Pool
from sizewise.loadgen.request import Target
from sizewise.loadgen.schedule import Schedule, Spacing, constant, due_times, preceded
from sizewise.loadgen.tally import Tally, Window, window_of
from sizewise.loadgen.timer import Timer

TICK_S = 0.25
WATCHED_PER_S = 200
"""In a closed loop, how often it is seen whether the generator comes on time."""
ACTS_PER_TURN = 32
"""Requests sent before answers are looked at again, when many are due at once."""
LATEST_S = 1.0
"""A generator that is behind its schedule by this much at the end sends no more."""
START_S = 0.01
"""From set-up to the first request."""
OnTick = Callable[[float], None]
"""Called a few times a second with the share of the time that has passed, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One window of load."""

    connections: int
    """Most that are open at once. Closed loop: exactly these."""
    seconds: float
    """Counted time."""
    warmup_s: float = 0.0
    """Time before it, with the same load, that is not counted."""
    timeout_s: float = 30.0
    slo_s: float | None = None
    schedule: Schedule | None = None
    """When requests are due within the counted time; None is a closed loop."""


async def run(target: Target, load: Load, on_tick: OnTick = lambda _: None) -> Window:
    """Send the load, wait for its answers, and say what was seen."""
    start_s = time.monotonic() + START_S
    tally = Tally(start_s + load.warmup_s, start_s + load.warmup_s + load.seconds, load.slo_s)
    pool = Pool(target, tally, connections=load.connections, timeout_s=load.timeout_s)
    gc.collect()
    gc.freeze()  # what lives now lives on: a full collection would stop the clockwork for milliseconds
    ticking = asyncio.create_task(_tick(pool, tally, start_s, on_tick=on_tick))
    used_s, wall_s = time.process_time(), time.monotonic()
    try:
        if load.schedule is None:
            watched = constant(WATCHED_PER_S, tally.until_s - start_s, spacing=Spacing.uniform)
            _keep_busy(pool, load.connections, tally.until_s)
            await _paced(tally, _moments(watched, start_s), lambda _: None)
        else:
            await _paced(tally, _moments(preceded(load.schedule, load.warmup_s), start_s), pool.submit)
        await _until(tally.until_s)
        cpu_share = (time.process_time() - used_s) / (time.monotonic() - wall_s)
        await pool.finish()
    finally:
        ticking.cancel()
        gc.unfreeze()
        await pool.close()
    offered = None if load.schedule is None else load.schedule.mean_per_s()
    return window_of(tally, offered_per_s=offered, connections=pool.most_open, cpu_share=cpu_share)


def _moments(schedule: Schedule, start_s: float) -> Iterator[float]:
    return (start_s + due_s for due_s in due_times(schedule))


def _keep_busy(pool: Pool, connections: int, until_s: float) -> None:
    """As many requests as connections, and another for each that ends."""

    def send_next() -> None:
        now_s = time.monotonic()
        if now_s < until_s:
            pool.submit(now_s)

    pool.after = send_next
    for _ in range(connections):
        pool.submit(time.monotonic())


async def _paced(tally: Tally, moments: Iterator[float], act: Callable[[float], None]) -> None:
    """Call ``act`` at each moment; returns after the last, or when it is so late that there is no point."""
    loop, timer, done = asyncio.get_running_loop(), Timer(), asyncio.Event()
    due_s = next(moments, None)

    def on_time() -> None:
        nonlocal due_s
        timer.clear()
        for _ in range(ACTS_PER_TURN):
            now_s = time.monotonic()
            if due_s is None or due_s > now_s:
                break
            tally.came(due_s, now_s)
            act(due_s)
            due_s = next(moments, None) if now_s < tally.until_s + LATEST_S else None
        if due_s is None:
            done.set()
        else:
            timer.set(due_s)

    loop.add_reader(timer.fd, on_time)
    timer.set(time.monotonic())
    try:
        await done.wait()
    finally:
        loop.remove_reader(timer.fd)
        timer.close()


async def _tick(pool: Pool, tally: Tally, start_s: float, *, on_tick: OnTick) -> None:
    while True:
        pool.sweep()
        on_tick(min(1.0, max(0.0, time.monotonic() - start_s) / (tally.until_s - start_s)))
        await asyncio.sleep(TICK_S)


async def _until(at_s: float) -> None:
    await asyncio.sleep(max(0.0, at_s - time.monotonic()))
