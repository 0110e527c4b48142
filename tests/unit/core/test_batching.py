"""The size of a batch settles where rows are cheapest, and stays there."""

from collections.abc import Callable

import numpy as np
import pytest

from sizewise.core.batching import PAUSE, BatchSize

PLENTY = 10_000


def run(batches: BatchSize, call_s: Callable[[int], float], *, calls: int, waiting: int = PLENTY) -> list[int]:
    """Rows of each of ``calls`` calls while ``waiting`` requests are there."""
    taken = []
    for _ in range(calls):
        rows = min(batches.next(waiting), waiting)
        batches.called(rows, call_s(rows))
        taken.append(rows)
    return taken


@pytest.mark.parametrize(
    ("call_s", "size"),
    [
        (lambda rows: 1e-3 + 1e-5 * rows, 64),  # weights are read once for all rows
        (lambda rows: 1e-3 * rows, 1),  # no row becomes cheaper
        (lambda rows: 1e-4 + 1e-3 * rows, 1),  # a gain of 5 % is not worth waiting for
        (lambda rows: 1e-3 + 1e-5 * rows + 1e-4 * max(0, rows - 32) ** 2, 32),  # too large for the cache beyond
    ],
)
def test_the_size_that_pays_is_found(call_s: Callable[[int], float], size: int) -> None:
    batches = BatchSize(64)
    run(batches, call_s, calls=200)
    assert batches.size == size


def test_it_is_found_through_noise() -> None:
    rng = np.random.default_rng(5)
    batches = BatchSize(64)
    run(batches, lambda rows: (1e-3 + 2e-5 * rows) * rng.lognormal(sigma=0.15) * rng.choice([1, 5], p=[0.9, 0.1]),
        calls=3000)  # fmt: skip
    assert batches.size >= 32


def test_once_found_few_calls_are_spent_on_looking() -> None:
    batches = BatchSize(64)
    run(batches, lambda rows: 1e-3 * rows, calls=20_000)
    assert np.mean(np.array(run(batches, lambda rows: 1e-3 * rows, calls=20_000)) != 1) < 0.01
    # A model that has changed is found out all the same
    run(batches, lambda rows: 1e-3 + 1e-5 * rows, calls=2 * PAUSE[1])
    assert batches.size == 64


@pytest.mark.parametrize("most", [1, 3, 8, 48])
def test_never_more_rows_than_allowed(most: int) -> None:
    batches = BatchSize(most)
    assert max(run(batches, lambda rows: 1e-3, calls=300)) == batches.size == most


@pytest.mark.parametrize("waiting", [5, 9])
def test_what_does_not_wait_is_not_waited_for(waiting: int) -> None:
    """Where few come at once their size is compared with smaller ones only."""
    cheaper = BatchSize(64)
    assert max(run(cheaper, lambda rows: 1e-3 + 1e-5 * rows, calls=300, waiting=waiting)) == waiting
    assert cheaper.size == 16
    dearer = BatchSize(64)
    run(dearer, lambda rows: 1e-3 * rows, calls=300, waiting=waiting)
    assert dearer.size == 1


def test_a_comparison_that_finds_too_little_is_given_up() -> None:
    batches = BatchSize(64)
    run(batches, lambda rows: 1e-3 + 1e-5 * rows, calls=3, waiting=32)
    run(batches, lambda rows: 1e-3 * rows, calls=500, waiting=4)
    assert batches.size == 1


def test_a_model_whose_rows_belong_together_gets_one_request_a_call() -> None:
    batches = BatchSize(64)
    run(batches, lambda rows: 1e-3, calls=5)
    batches.never()
    assert set(run(batches, lambda rows: 1e-3, calls=300)) == {1}
