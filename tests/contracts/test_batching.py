"""A simulated replica takes all that waits, up to the profile's batch; a real one finds out which batches pay.

Where the profile is right the two must not differ by much, or what is simulated is not what runs.
"""

from typing import Any

import pytest

from sizewise.core.batching import BatchSize
from sizewise.simulation import plain
from sizewise.simulation.pools import Pools, quantile_s
from tests.unit.simulation.building import poisson, replay, setup

SECONDS = 300.0


class Finding(plain._Model):  # the requests are handled as before, only batches are chosen as replicas do
    """A model whose replicas choose batches as ``hosting`` has them do."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sizes: dict[Any, BatchSize] = {}

    def _begin(self, replica: Any, now_s: float) -> None:
        size = self.sizes.setdefault(replica, BatchSize(self.setup.max_batch))
        whole, waiting = replica.waiting, len(replica.waiting)
        replica.waiting = list(whole)[: size.next(waiting)]
        super()._begin(replica, now_s)
        replica.waiting = whole

    def _complete(self, replica: Any, now_s: float) -> None:
        self.sizes[replica].called(replica.executing, now_s - replica.begun_s)
        super()._complete(replica, now_s)


def replayed(each: Any, rate_per_s: float, monkeypatch: pytest.MonkeyPatch, *, finding: bool) -> Pools:
    with monkeypatch.context() as patch:
        if finding:
            patch.setattr(plain, "_Model", Finding)
        return replay(each, poisson(rate_per_s, SECONDS), 2)


@pytest.mark.parametrize("rate_per_s", [20.0, 60.0, 120.0])
@pytest.mark.parametrize(
    ("points", "max_batch"),
    [
        pytest.param(((1, 0.02), (32, 0.15)), 32, id="dense: every row more is cheap"),
        pytest.param(((1, 0.02), (4, 0.03)), 4, id="few rows"),
        pytest.param(((1, 0.012),), 1, id="one at a time"),
    ],
)
def test_batches_of_a_right_profile_are_found(
    points: tuple[tuple[int, float], ...], max_batch: int, rate_per_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = setup(points[0][1], points=points, max_batch=max_batch, max_in_flight=2 * max_batch)
    taken, found = (replayed(each, rate_per_s, monkeypatch, finding=choice) for choice in (False, True))
    assert taken.counts(0).served == pytest.approx(found.counts(0).served, abs=2 * max_batch)
    for share in (0.5, 0.95):
        assert quantile_s(found.record.latency, share) == pytest.approx(
            quantile_s(taken.record.latency, share), rel=0.10
        )


def test_a_batch_that_does_not_pay_is_taken_in_simulations_only(monkeypatch: pytest.MonkeyPatch) -> None:
    each = setup(0.02, points=((1, 0.02), (8, 0.18)), max_batch=8, max_in_flight=16)
    taken, found = (replayed(each, 85.0, monkeypatch, finding=choice) for choice in (False, True))
    assert (quantile_s(found.record.latency, 0.5) or 0) < 0.9 * (quantile_s(taken.record.latency, 0.5) or 0)
