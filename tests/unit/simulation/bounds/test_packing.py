"""Fewest machines for replicas, per slot."""

import numpy as np
import pytest

from sizewise.simulation.bounds.packing import devices_bound, machines_bound


@pytest.mark.parametrize(
    ("counts", "needs", "machine", "fewest"),
    [
        pytest.param([[3], [2]], [[1.0], [2.0]], [4.0], [2], id="sum of one resource"),
        pytest.param([[2]], [[1.0, 3.0]], [4.0, 4.0], [2], id="the scarcer resource counts"),
        pytest.param([[3]], [[2.2]], [4.0], [3], id="no two of more than half a machine share one"),
        pytest.param([[1]], [[140.0]], [80.0], [2], id="larger than a machine"),
        pytest.param([[1], [2]], [[140.0], [20.0]], [80.0], [3], id="what its pieces leave is used"),
        pytest.param([[0, 2]], [[3.0]], [4.0], [0, 2], id="by slot"),
    ],
)
def test_fewest(counts: list[list[int]], needs: list[list[float]], machine: list[float], fewest: list[int]) -> None:
    assert machines_bound(np.array(counts), needs, machine=machine).tolist() == fewest


def test_a_resource_that_is_nowhere() -> None:
    with pytest.raises(ValueError, match="none"):
        machines_bound(np.array([[1]]), [[1.0, 1.0]], machine=[4.0, 0.0])


def test_devices_hold_what_is_asked_for_most_by_its_bytes_first() -> None:
    requests = np.array([[90.0, 90.0], [10.0, 0.0]])
    sizes = np.array([[10.0, 10.0], [60.0, 0.0]])

    def needed(late_share: float) -> int:
        return devices_bound(requests, sizes, device_bytes=20.0, late_share=late_share)

    # Besides the busy model, 60 of its bytes: the less of the rare large one, the more of its ten requests are late
    assert needed(0.0) == 4
    assert needed(0.03) == 2
    assert needed(0.05) == 1


def test_devices_are_never_more_than_hold_everything() -> None:
    rng = np.random.default_rng(5)
    requests, sizes = rng.integers(0, 50, (8, 30)).astype(float), rng.uniform(1, 100, (8, 30))
    most = int(np.ceil(sizes.sum(axis=0).max() / 64.0))
    counts = [devices_bound(requests, sizes, device_bytes=64.0, late_share=share) for share in (0.0, 0.01, 0.1, 1.0)]
    assert most >= counts[0] >= counts[1] >= counts[2] >= counts[3] == 1
