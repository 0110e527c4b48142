"""The memory that rules about unused models are compared in."""

import numpy as np
import pytest

from benchmarks.keepwarm import Memory, Model, pasts_of
from sizewise.core.returns import returns_per_s

GB = 1_000_000_000


def replayed(policy: str, *, ordered: bool) -> Memory:
    rng = np.random.default_rng(4)
    models = [Model(size_bytes=int(size) * GB, load_s=2.0 + float(size)) for size in rng.integers(1, 20, 30)]
    uses = [(float(at_s), int(rng.integers(0, 30) * rng.random())) for at_s in np.sort(rng.uniform(0, 20_000, 600))]
    memory = Memory(policy, models, 100 * GB)
    memory.ordered = ordered
    for (at_s, who), past in zip(uses, pasts_of(uses), strict=True):
        memory.use(at_s, who, past)
    return memory


@pytest.mark.parametrize("policy", ["lru_bytes", "ttl:600", "gdsf", "landlord"])
def test_looking_at_scores_when_a_model_is_used_changes_nothing_where_only_uses_change_their_order(policy: str) -> None:
    often, seldom = replayed(policy, ordered=False), replayed(policy, ordered=True)
    assert often.held == seldom.held
    assert (often.cold_s, often.cold_starts, often.bytes) == (seldom.cold_s, seldom.cold_starts, seldom.bytes)
    assert seldom.bytes <= 100 * GB
    assert seldom.cold_starts > len(seldom.held)


def test_the_model_that_is_least_likely_to_pay_for_its_bytes_goes() -> None:
    models = [Model(size_bytes=10 * GB, load_s=10.0), Model(size_bytes=10 * GB, load_s=10.0), Model(GB, load_s=1.0)]
    # The first is asked for every minute and was a moment ago; the second every quarter of an hour
    uses = [(60.0 * turn, 0) for turn in range(60)] + [(900.0 * turn + 1.0, 1) for turn in range(4)]
    memory = Memory("ours:inf", models, 20 * GB)
    order = sorted(uses)
    for (at_s, who), past in zip(order, pasts_of(order), strict=True):
        memory.use(at_s, who, past)
    assert memory.held == {0, 1}
    frequent, rare = memory.models[0], memory.models[1]
    now_s = order[-1][0] + 5.0
    assert returns_per_s(frequent.past.gaps, now_s - frequent.last_s) > returns_per_s(
        rare.past.gaps, now_s - rare.last_s
    )
    memory.use(now_s, 2, pasts_of([(now_s, 2)])[0])
    assert memory.held == {0, 2}
