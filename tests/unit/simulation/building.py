"""Small simulated worlds for tests."""

from collections.abc import Callable, Sequence

import numpy as np

from sizewise.simulation.plain import PlainPools
from sizewise.simulation.pools import Pools, PoolSetup, Record, curve_of, record_for
from sizewise.simulation.spread import Shape, factors
from sizewise.simulation.workload import Chance, RateWorkload, RequestWorkload, Workload

Make = Callable[[Sequence[PoolSetup], Record], Pools]


def setup(service_s: float, *, shape: Shape = "constant", cv: float = 0.0, **more: object) -> PoolSetup:
    """A model that takes so long, and never sheds unless it is told to."""
    drawn = factors(shape, cv, np.random.default_rng(5))
    points = more.pop("points", ((1, service_s),))
    max_batch = more.get("max_batch", 1)
    curve_s = curve_of(points, max_batch)  # type: ignore[arg-type]
    plain = {"sheds": False, "max_queue": 1_000_000, "max_in_flight": 1, "timeout_s": 1e9, "hold_s": 1e9}
    return PoolSetup(curve_s=curve_s, factors=drawn, service_s=service_s, **{**plain, **more})  # type: ignore[arg-type]


def poisson(rate_per_s: float, seconds: float, *, seed: int = 1) -> Workload:
    counts = np.full((1, int(seconds / 10)), rate_per_s * 10)
    return RateWorkload(["a"], counts, bucket_s=10.0, seed=seed, chance=Chance())


def at(*times_s: float, end_s: float = 100.0) -> Workload:
    return RequestWorkload(["a"], [np.array(times_s)], end_s=end_s)


def replay(
    each: PoolSetup, workload: Workload, replicas: int, *, make: Make = PlainPools, step_s: float = 1.0
) -> Pools:
    """Fixed replicas, looked at every ``step_s``."""
    pools = make([each], record_for(1, workload.end_s))
    pools.feed(workload.block(0))
    for _ in range(replicas):
        pools.add(0)
    now_s = 0.0
    for i in range(workload.blocks):
        block = workload.block(i)
        if i:
            pools.feed(block)
        while now_s < block.end_s:
            now_s = min(now_s + step_s, block.end_s)
            pools.advance_all(now_s)
    return pools
