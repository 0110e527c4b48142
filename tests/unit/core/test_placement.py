"""Tables and promises of placing replicas on several machines."""

import itertools
import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizewise.core.decide import decide
from sizewise.core.fleet import MachineView
from sizewise.core.placement import Item, place, pooled
from sizewise.core.units import GIB, MIB
from tests.unit.core.fleet_sim import profile
from tests.unit.core.views import asked, model, of, replica, view


def node(name: str, *, memory: int = 100, cpus: float = 8, slots: int = 9, **rest: Any) -> MachineView:
    return MachineView(name=name, cpus=cpus, memory_bytes=memory, load_slots=slots, **rest)


def item(key: str, private: int = 10, **rest: Any) -> Item:
    return Item(key=key, **{"model": key, "version": "v1", "private_bytes": private, **rest})


@pytest.mark.parametrize(
    ("items", "machines", "expected"),
    [
        pytest.param([item("a")], [node("x"), node("y")], {"a": "x"}, id="all alike: by name"),
        pytest.param([item("a", 90)], [node("x", memory=50), node("y")], {"a": "y"}, id="where it fits"),
        pytest.param(
            [item("a", cpus=4.0)], [node("x", cpus=2), node("y", cpus=4)], {"a": "y"}, id="cores count as well"),
        pytest.param(
            [item("a", 50, cpus=1.0)],
            [node("x", cpus=8, memory=60), node("y", cpus=2, memory=100)],
            {"a": "y"}, id="the shape that leaves the shape"),
        pytest.param(
            [item("o", model="m", machine="y", shared_bytes=40), item("n", model="m", shared_bytes=40, reload_s=60.0)],
            [node("x"), node("y")], {"n": "y"}, id="where the weights are"),
        pytest.param(
            [item("o", model="m", machine="x", shared_bytes=40), item("n", model="m", shared_bytes=40, reload_s=1.0)],
            [node("x"), node("y")], {"n": "y"}, id="quick to load: spread instead"),
        pytest.param(
            [item("o", model="m", machine="x"), item("n", model="m")],
            [node("x", domain="left"), node("y", domain="left"), node("z", domain="right")],
            {"n": "z"}, id="not where they fail together"),
        pytest.param(
            [item("o", machine="x", loading=True), item("n", reload_s=5.0)],
            [node("x"), node("y")], {"n": "y"}, id="loads share what the storage gives"),
        pytest.param(
            [item("small", 10), item("large", 90)], [node("x"), node("y", memory=20)],
            {"large": "x", "small": "x"}, id="the largest first"),
        pytest.param(
            [item("a", device_bytes=8)], [node("x"), node("y", device_bytes=16)], {"a": "y"}, id="an accelerator"),
        pytest.param(
            [item("o", machine="x", disk_bytes=60), item("n", disk_bytes=60)],
            [node("x", disk_bytes=100), node("y", disk_bytes=100)], {"n": "y"}, id="disk counts as well"),
        pytest.param(
            [item("o", model="m", machine="x", disk_bytes=60, load_s=9.0),
             item("n", model="m", disk_bytes=60, reload_s=90.0)],
            [node("x", disk_bytes=100), node("y", disk_bytes=100)], {"n": "x"}, id="files are there once"),
        pytest.param(
            [item("a", reload_s=5.0)], [node("x", ready_in_s=60.0), node("y")], {"a": "y"}, id="one that is there"),
        pytest.param(
            [item("a", 60), item("b", 60)], [node("x", ready_in_s=60.0), node("y")],
            {"a": "y", "b": "x"}, id="one that is to be obtained"),
        pytest.param(
            [item("small", 60, priority=1), item("large", 90)], [node("x")], {"small": "x"}, id="priority before size"),
    ],
)  # fmt: skip
def test_place(items: list[Item], machines: list[MachineView], expected: dict[str, str]) -> None:
    assert place(items, machines).machines == expected


def test_what_fits_nowhere_and_what_waits_for_a_load_are_told_apart() -> None:
    placement = place([item("a", 200), item("b"), item("c")], [node("x", slots=1)])
    assert placement.machines == {"b": "x"}
    assert (placement.unplaced, placement.waiting) == (("a",), ("c",))


sizes = st.integers(1, 100)
items_ = st.lists(st.builds(lambda p, s, c: (p, s, c), sizes, st.integers(0, 30), st.floats(0, 4)), max_size=12)
nodes_ = st.lists(st.tuples(st.integers(20, 200), st.floats(1, 8), st.integers(1, 4)), min_size=1, max_size=5)


@settings(max_examples=60)
@given(items_, nodes_, st.randoms(use_true_random=False))
def test_no_machine_is_overfilled_and_order_does_not_matter(
    shapes: list[tuple[int, int, float]], nodes: list[tuple[int, float, int]], rng: random.Random
) -> None:
    machines = [node(f"n{i}", memory=m, cpus=c, slots=s) for i, (m, c, s) in enumerate(nodes)]
    items = [
        item(f"i{i}", p, model=f"m{i % 3}", shared_bytes=s if i % 3 == 0 else 0, cpus=c)
        for i, (p, s, c) in enumerate(shapes)
    ]
    placement = place(items, machines)
    by_key = {i.key: i for i in items}
    for machine in machines:
        here = [by_key[key] for key, name in placement.machines.items() if name == machine.name]
        shared = {i.weights: 0 for i in here}
        for i in here:
            shared[i.weights] = max(shared[i.weights], i.shared_bytes)
        assert sum(i.private_bytes for i in here) + sum(shared.values()) <= machine.memory_bytes
        assert sum(i.cpus for i in here) <= machine.cpus + 1e-6
        assert len(here) <= machine.load_slots
    assert len(placement.machines) + len(placement.waiting) + len(placement.unplaced) == len(items)
    rng.shuffle(items)
    rng.shuffle(machines)
    assert place(items, machines) == placement


def fewest_bins(shapes: list[int], size: int) -> int:
    """By trying: the exact answer for a handful."""
    for count in range(1, len(shapes) + 1):
        for choice in itertools.product(range(count), repeat=len(shapes)):
            bins = [0] * count
            for shape, where in zip(shapes, choice, strict=True):
                bins[where] += shape
            if max(bins) <= size:
                return count
    return 0


@settings(max_examples=30)
@given(st.lists(st.integers(15, 100), min_size=1, max_size=5))
def test_as_few_machines_as_first_fit_decreasing_promises(shapes: list[int]) -> None:
    machines = [node(f"n{i}", slots=99) for i in range(len(shapes))]
    placement = place([item(f"i{i}", shape) for i, shape in enumerate(shapes)], machines)
    assert len(set(placement.machines.values())) <= math.floor(11 / 9 * fewest_bins(shapes, 100) + 6 / 9)


def test_what_runs_is_charged_and_never_moved() -> None:
    there = [item("a", 95, machine="x"), item("b", 95, machine="gone")]
    placement = place([*there, item("c", 10)], [node("x"), node("y")])
    assert placement.machines == {"c": "y"}


MACHINES = tuple(
    MachineView(name=f"n{i}", cpus=2, memory_bytes=1 * GIB, overhead_bytes=100 * MIB, load_slots=2) for i in range(3)
)
COLD = asked(0.0, queued=1, held=1, idle_s=0.1)
LARGE = profile(load_s=2.0, private=100 * MIB, mapped=500 * MIB, service_s=0.02)


def test_a_decision_says_where() -> None:
    fleet = view(*(model(f"m{i}", COLD, profile=LARGE) for i in range(3)), on=pooled(MACHINES))
    decision = decide(replace(fleet, machines=MACHINES))
    assert sorted(name for m in decision.models for name in m.machines) == ["n0", "n1", "n2"]
    assert [m.start for m in decision.models] == [1, 1, 1]


def test_room_that_is_scattered_is_no_room() -> None:
    huge = profile(load_s=2.0, private=1200 * MIB)
    fleet = view(model("m", COLD, profile=huge), on=pooled(MACHINES))
    decision = of(decide(replace(fleet, machines=MACHINES)).models, "m")
    assert (decision.start, decision.desired, decision.reason.code) == (0, 0, "no_machine")


def test_replicas_of_a_model_are_spread() -> None:
    running = (replica("a", machine="n1"),)
    fleet = view(model("m", asked(400.0), replicas=running), on=pooled(MACHINES))
    decision = of(decide(replace(fleet, machines=MACHINES)).models, "m")
    assert decision.start >= 1
    assert "n1" not in decision.machines[:2]
