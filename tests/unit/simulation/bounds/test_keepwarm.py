"""The keep-warm bound against every choice of intervals on small cases, and against LRU on larger ones."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.simulation.bounds.keepwarm import Item, keep_warm_bound

ITEMS = {
    "small": Item(size_bytes=1.0, cold_cost=1.0),
    "middle": Item(size_bytes=2.0, cold_cost=5.0),
    "large": Item(size_bytes=4.0, cold_cost=6.0),
}
USES = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(sorted(ITEMS))), min_size=1, max_size=9)


def brute(uses: list[tuple[float, str]], memory: float) -> float:
    """Cheapest over all sets of kept intervals that fit into the memory at every moment."""
    last: dict[str, float] = {}
    intervals = []
    for at, name in uses:
        if name in last:
            intervals.append((last[name], at, name))
        last[name] = at
    total = sum(ITEMS[name].cold_cost for _, name in uses)
    best = total
    for kept in itertools.product([False, True], repeat=len(intervals)):
        chosen = [interval for interval, keep in zip(intervals, kept, strict=True) if keep]
        moments = {begin for begin, _, _ in chosen}
        if all(sum(ITEMS[n].size_bytes for b, e, n in chosen if b <= t < e) <= memory for t in moments):
            best = min(best, total - sum(ITEMS[n].cold_cost for _, _, n in chosen))
    return best


@given(USES, st.sampled_from([1.0, 2.0, 3.0, 5.0, 7.0]))
def test_never_above_what_some_choice_achieves(raw: list[tuple[int, str]], memory: float) -> None:
    uses = [(float(at), name) for at, name in sorted(raw)]
    bound = keep_warm_bound(uses, ITEMS, memory_bytes=memory)
    assert bound.first_uses - 1e-9 <= bound.cost <= brute(uses, memory) + 1e-9
    assert bound.without_memory == sum(ITEMS[name].cold_cost for _, name in uses)


def test_with_room_for_all_only_first_uses_are_cold() -> None:
    uses = [(float(at), name) for at, name in enumerate(["small", "large", "small", "middle", "large"])]
    bound = keep_warm_bound(uses, ITEMS, memory_bytes=7.0)
    assert bound.cost == bound.first_uses == 12.0


def test_below_what_lru_pays() -> None:
    rng = random.Random(1)
    uses = [(float(at), rng.choice(["small"] * 6 + ["middle"] * 3 + ["large"])) for at in range(500)]
    cached: list[str] = []
    paid = 0.0
    for _, name in uses:
        if name in cached:
            cached.remove(name)
        else:
            paid += ITEMS[name].cold_cost
        cached.append(name)
        while sum(ITEMS[each].size_bytes for each in cached) > 4.0:
            cached.pop(0)
    assert 0 < keep_warm_bound(uses, ITEMS, memory_bytes=4.0).cost < paid


def test_uses_must_be_sorted() -> None:
    with pytest.raises(ValueError, match="not sorted"):
        keep_warm_bound([(2.0, "small"), (1.0, "small")], ITEMS, memory_bytes=1.0)
