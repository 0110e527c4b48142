"""Fewest machines that hold given replicas, ignoring which piece goes where, and when what is loaded."""

import math
from collections.abc import Sequence

import numpy as np

from sizewise.simulation.bounds.rightsizing import Floats, Ints


def machines_bound(counts: Ints, needs: Sequence[Sequence[float]], *, machine: Sequence[float]) -> Ints:
    """Machines of one kind needed in each slot, at the least.

    ``counts`` has shape (models, slots), ``needs`` (models, resources), ``machine`` (resources,). A replica larger than
    a machine is cut into the fewest equal pieces. The larger of two bounds: the sum of each resource, and the number
    of pieces of more than half a machine, of which no two share one. Raises ValueError when a replica needs a
    resource that machines do not have.
    """
    sizes = np.asarray(needs, np.float64)
    have = np.asarray(machine, np.float64)
    if np.any((have <= 0) & (sizes > 0).any(axis=0)):
        raise ValueError("a replica needs a resource of which machines have none")
    shares = sizes / np.where(have > 0, have, 1.0)
    pieces = np.maximum(1.0, np.ceil(shares.max(axis=1) - 1e-9))
    large = np.where(shares / pieces[:, None] > 0.5, pieces[:, None], 0.0)
    by_sum = np.ceil(shares.T @ counts - 1e-9)
    found: Ints = np.maximum(by_sum, large.T @ counts).max(axis=0).astype(np.int64)
    return found


def devices_bound(requests_MT: Floats, bytes_MT: Floats, *, device_bytes: float, late_share: float) -> int:
    """Devices without which more than this share of requests would find their model in no memory, at the least.

    By models and slots: requests, and bytes of the replicas that answer them. In each slot the models with most
    requests for their bytes are held first, the last in part; loads take no time, nothing is lost between devices.
    """
    allowed = late_share * float(requests_MT.sum())
    most = max(1, math.ceil(float(bytes_MT.sum(axis=0).max(initial=0.0)) / device_bytes))
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if _missed(requests_MT, bytes_MT, middle * device_bytes) <= allowed:
            high = middle
        else:
            low = middle
    return high


def _missed(requests_MT: Floats, bytes_MT: Floats, room_bytes: float) -> float:
    missed = 0.0
    for requests, sizes in zip(requests_MT.T, bytes_MT.T, strict=True):
        order = np.argsort(-requests / np.maximum(sizes, 1.0), kind="stable")
        filled = np.cumsum(sizes[order])
        parts = np.clip((room_bytes - (filled - sizes[order])) / np.maximum(sizes[order], 1.0), 0.0, 1.0)
        missed += float((requests[order] * (1.0 - parts)).sum())
    return missed
