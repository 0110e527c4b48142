"""Which machine each new replica starts on, when there are several. What runs stays where it is.

Source: reference design, section 3.6: feasible machines by vector fit, largest share first; among them by what loading
there costs, by spread over failure domains, and by how well the shape fits what is left (dot product, Panigrahy et al.
2011). Moving what runs and counting what could no longer be placed (FGD) are left out.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sizewise.core.fleet import MachineView

SAME_DOMAIN_S = 10.0
"""Seconds of loading that it is worth not to have two replicas of a model fail together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One replica: to be placed, or, with ``machine``, placed long ago."""

    key: str
    model: str
    version: str
    private_bytes: int
    shared_bytes: int = 0
    """Weights charged once for all replicas of a version on a machine."""
    cpus: float = 0.0
    """Cores it is expected to keep busy."""
    device_bytes: int = 0
    disk_bytes: int = 0
    """Its files, there once for all replicas of a version on a machine."""
    load_s: float = 0.0
    """Where the weights are on the machine."""
    reload_s: float = 0.0
    """Where they must be read first."""
    priority: int = 0
    machine: str = ""
    loading: bool = False

    @property
    def weights(self) -> tuple[str, str]:
        return self.model, self.version


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    machines: dict[str, str]
    """Machine of each item that was placed, by key."""
    waiting: tuple[str, ...] = ()
    """Fit, but too many loads run at once there."""
    unplaced: tuple[str, ...] = ()
    """Fit on no machine now."""


@dataclass(slots=True)
class _Room:
    """One machine while it is filled."""

    machine: MachineView
    free: list[float]
    """Of each resource, as ``_whole`` lists them."""
    loads: int = 0
    holds: set[tuple[str, str]] = field(default_factory=set)
    models: dict[str, int] = field(default_factory=dict)
    """Replicas by model."""

    def asked(self, item: Item) -> tuple[float, ...]:
        return _asked(item, held=item.weights in self.holds)

    def fits(self, item: Item) -> bool:
        return all(asked <= free + 1e-9 for asked, free in zip(self.asked(item), self.free, strict=True))

    def take(self, item: Item) -> None:
        self.free = [free - asked for asked, free in zip(self.asked(item), self.free, strict=True)]
        self.loads += item.loading or not item.machine
        self.holds.add(item.weights)
        self.models[item.model] = self.models.get(item.model, 0) + 1

    def load_s(self, item: Item) -> float:
        """Until it is ready here: loads that read weights at once share what the storage gives."""
        return item.load_s if item.weights in self.holds else item.reload_s * (self.loads + 1)

    def alignment(self, item: Item) -> float:
        """Cosine of what is asked and what is left, each as a share of the machine: 1 leaves the shape as it is."""
        whole = _whole(self.machine)
        asked, left = _shares(self.asked(item), whole), _shares(self.free, whole)
        if sum(share > 0 for share in asked) <= 1:
            return 1.0
        norms = math.hypot(*asked) * math.hypot(*left)
        return sum(a * b for a, b in zip(asked, left, strict=True)) / norms if norms > 0 else 1.0


def place(items: Iterable[Item], machines: Sequence[MachineView]) -> Placement:
    """A machine for each item that has none and fits; the same whatever the order of items and machines.

    Never more on a machine than it has. Where memory alone counts, machines are alike and nothing else speaks for one,
    this is first-fit decreasing: at most 11/9 of the fewest machines, and 6/9 of one (Dosa 2007).
    """
    rooms = {m.name: _room(m) for m in sorted(machines, key=lambda m: m.name)}
    fresh = []
    for item in items:
        if not item.machine:
            fresh.append(item)
        elif item.machine in rooms:
            rooms[item.machine].take(item)
    largest = [max(sizes) for sizes in zip(*map(_whole, machines), strict=True)]

    def order(item: Item) -> tuple[int, float, str]:
        share = max(_shares(_asked(item, held=False), largest), default=0.0)
        return -item.priority, -share, item.key

    placed: dict[str, str] = {}
    waiting: list[str] = []
    unplaced: list[str] = []
    for item in sorted(fresh, key=order):
        fitting = [room for room in rooms.values() if room.fits(item)]
        free = [room for room in fitting if room.loads < room.machine.load_slots]
        if not free:
            (waiting if fitting else unplaced).append(item.key)
            continue
        domains = _domains(rooms.values(), item.model)
        best = min(free, key=lambda room: _score(room, item, domains))
        best.take(item)
        placed[item.key] = best.machine.name
    return Placement(machines=placed, waiting=tuple(sorted(waiting)), unplaced=tuple(sorted(unplaced)))


def pooled(machines: Sequence[MachineView]) -> MachineView:
    """All machines as one: what sizing and arbitration share out before anything is placed."""
    return MachineView(
        cpus=sum(m.cpus for m in machines),
        memory_bytes=sum(m.memory_bytes for m in machines),
        overhead_bytes=sum(m.overhead_bytes for m in machines),
        load_slots=sum(m.load_slots for m in machines),
        device_bytes=sum(m.device_bytes for m in machines),
        disk_bytes=sum(m.disk_bytes for m in machines),
        warmth=machines[0].warmth,
    )


def _room(machine: MachineView) -> _Room:
    free = list(_whole(machine))
    free[0] -= machine.overhead_bytes
    return _Room(machine, free)


def _whole(machine: MachineView) -> tuple[float, ...]:
    """What there is of each resource: memory, cores, device memory, disk."""
    return machine.memory_bytes, machine.cpus, machine.device_bytes, machine.disk_bytes


def _asked(item: Item, *, held: bool) -> tuple[float, ...]:
    """What it takes of each; ``held``: where its weights and files are already."""
    shared_bytes, disk_bytes = (0, 0) if held else (item.shared_bytes, item.disk_bytes)
    return item.private_bytes + shared_bytes, item.cpus, item.device_bytes, disk_bytes


def _shares(amounts: Sequence[float], whole: Sequence[float]) -> list[float]:
    """Resources that are not there, or of which there is no end, are left out."""
    return [amount / all_ for amount, all_ in zip(amounts, whole, strict=True) if 0 < all_ < math.inf]


def _domain(machine: MachineView) -> str:
    return machine.domain or machine.name


def _domains(rooms: Iterable[_Room], model: str) -> dict[str, int]:
    """Replicas of the model by failure domain."""
    found: dict[str, int] = {}
    for room in rooms:
        domain = _domain(room.machine)
        found[domain] = found.get(domain, 0) + room.models.get(model, 0)
    return found


def _score(room: _Room, item: Item, domains: dict[str, int]) -> tuple[float, bool, float, str]:
    """Seconds until it is ready, and replicas that would fail together in the same coin; then machines in use before
    empty ones, so that those stay free for what is large; then the shape; then the name."""
    seconds = room.machine.ready_in_s + room.load_s(item) + SAME_DOMAIN_S * domains[_domain(room.machine)]
    return round(seconds, 3), not room.models, -round(room.alignment(item), 6), room.machine.name
