"""Cold seconds of each rule about what stays in memory, beside the bound that no rule can go below.

A catalogue of 300 models, 1 MB to 140 GB, popularity by Zipf's law, one day, three sizes of memory. Stationary: every
model is asked for at its rate throughout. Shifting: each is on for half an hour and off for two hours on average.
Simulated: the rules of core/warmth_policies.py decide about a memory, nothing is loaded. The bound is PFOO-L.

Usage: python -m benchmarks.keepwarm [--seeds 20] [--policies ours,landlord]
"""

import argparse
import heapq
import math
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from benchmarks.common import margin95, save
from sizewise.core.demand import DemandState, Reading, update
from sizewise.core.fleet import Demand
from sizewise.core.returns import Gaps
from sizewise.core.warmth_policies import NO_USES, Ours, Uses, Warm, policy_of, used
from sizewise.simulation.bounds.keepwarm import Item, keep_warm_bound

MODELS = 300
DAY_S = 86400.0
RATE_PER_S = 0.5
"""Of the whole catalogue."""
ON_S, OFF_S = 1800.0, 7200.0
START_S, BYTES_PER_S = 2.0, 1.5e9
SMALLEST, LARGEST = 1e6, 140e9
MEMORIES = (200e9, 600e9, 1500e9)
OURS = "ours:inf"
"""Memory is there anyway: nobody lets go of a model by time, but the rule that does nothing else."""
POLICIES = (OURS, "ours", "lru_bytes", "ttl:600", "gdsf", "landlord", "hybrid_histogram")
RIVALS = ("lru_bytes", "ttl:600", "gdsf", "landlord")


class Past(NamedTuple):
    """What the controller knows of a model's gaps once it was used: the same for every policy."""

    gap_s: float = math.inf
    gaps: Gaps = ()


UNUSED = Past()


@dataclass(slots=True)
class Model:
    """One model as the memory sees it."""

    size_bytes: int
    load_s: float
    last_s: float = -math.inf
    past: Past = UNUSED
    uses: Uses = NO_USES

    def seen(self, now_s: float, machine_bytes: int) -> Warm:
        idle_s = now_s - self.last_s
        return Warm(
            demand=Demand(observed_at_s=now_s, idle_s=idle_s, gap_s=self.past.gap_s, gaps=self.past.gaps),
            idle_s=idle_s,
            load_s=self.load_s,
            held_bytes=self.size_bytes,
            machine_bytes=machine_bytes,
            uses=self.uses,
        )


def pasts_of(uses: Sequence[tuple[float, int]]) -> list[Past]:
    """After each use, by the controller's own book-keeping, which reads just before and just after it."""
    states = [DemandState()] * MODELS
    found = []
    for count, (at_s, who) in enumerate(uses):
        before = Reading(at_s=at_s - 1e-3, arrivals=count, last_arrival_s=states[who].last_arrival_s)
        after = Reading(at_s=at_s, arrivals=count + 1, last_arrival_s=at_s)
        states[who] = update(update(states[who], before), after)
        gap_s = states[who].gap_s
        found.append(Past(math.inf if gap_s is None else gap_s, states[who].gaps))
    return found


class Memory:
    """Models in a memory of so many bytes, under one policy; counts cold seconds and cold starts."""

    def __init__(self, policy: str, models: Sequence[Model], room: float) -> None:
        self.policy = policy_of(policy)
        self.models = [replace(model) for model in models]
        self.room = int(room)
        self.held: set[int] = set()
        self.bytes = 0
        self.clock = 0.0
        self.cold_s = 0.0
        self.cold_starts = 0
        self.ordered = not isinstance(self.policy, Ours)
        """Whether scores differ by the same at all times: then each is looked at when a model is used, and no more."""
        self._scores: list[tuple[float, int, float]] = []
        self._ends: list[tuple[float, int]] = []
        """When each model may have been unused for long enough; looked at again when that moment comes."""

    def use(self, now_s: float, who: int, past: Past) -> None:
        self._release(now_s)
        model = self.models[who]
        if who not in self.held:
            self.cold_s += model.load_s
            self.cold_starts += 1
            self._make_room(model.size_bytes, now_s)
            self.held.add(who)
            self.bytes += model.size_bytes
            model.uses = replace(model.uses, count=0.0, credit=0.0)
        model.last_s, model.past = now_s, past
        if self.policy.remembers:
            model.uses = used(model.uses, now_s)
            credit = self.policy.credit(model.seen(now_s, self.room), self.clock)
            model.uses = replace(model.uses, credit=credit)
        if self.ordered:
            heapq.heappush(self._scores, (self.policy.score(model.seen(DAY_S, self.room)), who, now_s))
        limit_s = self.policy.release_s(model.seen(now_s, self.room))
        if limit_s < math.inf:
            heapq.heappush(self._ends, (now_s + limit_s, who))

    def _release(self, now_s: float) -> None:
        while self._ends and self._ends[0][0] <= now_s:
            at_s, who = heapq.heappop(self._ends)
            model = self.models[who]
            if who in self.held and at_s - model.last_s >= self.policy.release_s(model.seen(at_s, self.room)) - 1e-6:
                self._drop(who)

    def _make_room(self, size: int, now_s: float) -> None:
        if self.bytes + size <= self.room:
            return
        if self.ordered:
            victims = self._oldest()
        else:
            seen = ((self.policy.score(self.models[who].seen(now_s, self.room)), who) for who in self.held)
            victims = iter(sorted(seen))
        for score, who in victims:
            self._drop(who)
            self.clock = max(self.clock, score) if self.policy.remembers else 0.0
            if self.bytes + size <= self.room:
                return

    def _oldest(self) -> Iterator[tuple[float, int]]:
        """What is held, the lowest score first, where only uses change the order."""
        while self._scores:
            score, who, last_s = heapq.heappop(self._scores)
            if who in self.held and last_s == self.models[who].last_s:
                yield score, who

    def _drop(self, who: int) -> None:
        self.held.discard(who)
        self.bytes -= self.models[who].size_bytes


def catalogue(rng: np.random.Generator) -> list[Model]:
    sizes = np.exp(rng.uniform(math.log(SMALLEST), math.log(LARGEST), MODELS))
    return [Model(size_bytes=int(size), load_s=START_S + size / BYTES_PER_S) for size in sizes]


def uses_of(rng: np.random.Generator, *, shifting: bool) -> list[tuple[float, int]]:
    """(time, model), sorted. Shifting: the same mean rates, in the times in which a model is on."""
    shares = 1.0 / np.arange(1, MODELS + 1)
    rates = RATE_PER_S * shares / shares.sum()
    found: list[tuple[float, int]] = []
    for who, rate in enumerate(rng.permutation(rates)):
        for begin_s, end_s in _stretches(rng) if shifting else [(0.0, DAY_S)]:
            boost = (ON_S + OFF_S) / ON_S if shifting else 1.0
            count = rng.poisson(rate * boost * (end_s - begin_s))
            found += [(float(at_s), who) for at_s in rng.uniform(begin_s, end_s, count)]
    return sorted(found)


def _stretches(rng: np.random.Generator) -> list[tuple[float, float]]:
    stretches, at_s, on = [], 0.0, bool(rng.random() < ON_S / (ON_S + OFF_S))
    while at_s < DAY_S:
        lasts_s = rng.exponential(ON_S if on else OFF_S)
        if on:
            stretches.append((at_s, min(DAY_S, at_s + lasts_s)))
        at_s, on = at_s + lasts_s, not on
    return stretches


def one_seed(seed: int, policies: tuple[str, ...]) -> dict[tuple[str, float, str], float]:
    """Cold seconds by (popularity, memory, policy); the policy ``bound`` is the bound."""
    found = {}
    for popularity in ("stationary", "shifting"):
        rng = np.random.default_rng((seed, popularity == "shifting"))
        models = catalogue(rng)
        uses = uses_of(rng, shifting=popularity == "shifting")
        pasts = pasts_of(uses)
        items = {str(i): Item(size_bytes=m.size_bytes, cold_cost=m.load_s) for i, m in enumerate(models)}
        named = [(at_s, str(who)) for at_s, who in uses]
        for room in MEMORIES:
            found[popularity, room, "bound"] = keep_warm_bound(named, items, memory_bytes=room).cost
            for policy in policies:
                memory = Memory(policy, models, room)
                for (at_s, who), past in zip(uses, pasts, strict=True):
                    memory.use(at_s, who, past)
                found[popularity, room, policy] = memory.cold_s
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--policies", default=",".join(POLICIES))
    options = parser.parse_args()
    policies = tuple(options.policies.split(","))
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with ProcessPoolExecutor(2) as pool:
        runs = list(pool.map(one_seed, seeds, [policies] * len(seeds)))
    rows = [_row(runs, popularity, room, policies) for popularity in ("stationary", "shifting") for room in MEMORIES]
    note = f"simulated; cold seconds over the PFOO-L bound, mean of {len(runs)} seeds with 95 % intervals"
    save("keepwarm", rows, note=note, figures=_figures(rows, policies))


def _row(
    runs: list[dict[tuple[str, float, str], float]], popularity: str, room: float, policies: tuple[str, ...]
) -> dict[str, object]:
    row: dict[str, object] = {"popularity": popularity, "memory_gb": round(room / 1e9)}
    for policy in policies:
        ratios = [run[popularity, room, policy] / run[popularity, room, "bound"] for run in runs]
        row[policy] = round(statistics.mean(ratios), 3)
        row[f"{policy}_ci95"] = round(margin95(ratios), 3)
    return row


def _figures(rows: list[dict[str, object]], policies: tuple[str, ...]) -> dict[str, float]:
    """Worst of ours over the best rival of a setting, and ours over the one rival that is best over all of them."""
    rivals = [rival for rival in RIVALS if rival in policies]
    if OURS not in policies or not rivals:
        return {}
    worst = max(_number(row, OURS) / min(_number(row, rival) for rival in rivals) for row in rows)
    means = {each: statistics.geometric_mean(_number(row, each) for row in rows) for each in (OURS, *rivals)}
    single = min(means[rival] for rival in rivals)
    return {"worst_to_best_rival": round(worst, 3), "mean_to_single_best_rival": round(means[OURS] / single, 3)}


def _number(row: dict[str, object], key: str) -> float:
    value = row[key]
    assert isinstance(value, float)
    return value


if __name__ == "__main__":
    main()
