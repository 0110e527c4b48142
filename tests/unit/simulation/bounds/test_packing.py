"""Fewest machines for replicas, per slot."""

import numpy as np
import pytest

from sizewise.simulation.bounds.packing import machines_bound


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
