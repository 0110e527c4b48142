"""Fewest machines that hold given replicas, ignoring which piece goes where."""

from collections.abc import Sequence

import numpy as np

from sizewise.simulation.bounds.rightsizing import Ints


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
