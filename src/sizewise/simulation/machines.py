"""Where replicas go: equal slots under a cap, or machines that are obtained, shared, paid for and given back.

Sizewise decides itself on which machine a replica starts, and is shown those it could have. What other autoscalers ask
for goes to the fullest machine with room, as a cluster that packs would put it.
"""

import itertools
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sizewise.core.fleet import MachineView
from sizewise.core.profiles import ModelProfile
from sizewise.simulation.scenario import Capacity, MachinePool

SHOWN_AHEAD = 16
"""Machines of a pool that nobody has yet and a decision is shown: the next one sees more of them."""


@dataclass(slots=True, eq=False)
class Machine:
    pool: MachinePool
    name: str
    ready_s: float
    """When it can be used."""
    ordered_s: float
    loads: "Channel"
    memory_bytes: int = 0
    """In use, as device memory and disk are."""
    device_bytes: int = 0
    disk_bytes: int = 0
    holds: dict[int, int] = field(default_factory=dict)
    """Replicas by model."""
    empty_since_s: float = 0.0

    def fits(self, model: int, profile: ModelProfile) -> bool:
        memory_bytes, device_bytes, disk_bytes = self._needs(model, profile)
        pool = self.pool
        return (
            self.memory_bytes + memory_bytes <= pool.memory_bytes
            and self.device_bytes + device_bytes <= pool.device_bytes
            and self.disk_bytes + disk_bytes <= pool.disk_bytes
        )

    def take(self, model: int, profile: ModelProfile) -> None:
        self._add(self._needs(model, profile), 1)
        self.holds[model] = self.holds.get(model, 0) + 1

    def give_back(self, model: int, profile: ModelProfile) -> None:
        self.holds[model] -= 1
        if not self.holds[model]:
            del self.holds[model]
        self._add(self._needs(model, profile), -1)

    def _add(self, needs: tuple[int, int, int], sign: int) -> None:
        self.memory_bytes += sign * needs[0]
        self.device_bytes += sign * needs[1]
        self.disk_bytes += sign * needs[2]

    def _needs(self, model: int, profile: ModelProfile) -> tuple[int, int, int]:
        """Mapped weights and files are there once for all replicas of a model on a machine."""
        memory, held = profile.memory, model in self.holds
        shared_bytes, disk_bytes = (0, 0) if held else (memory.mapped_bytes, profile.facts.disk_bytes)
        return memory.replica_bytes + shared_bytes, memory.device_bytes, disk_bytes


@dataclass(slots=True, eq=False)
class Channel:
    """Bandwidth that loads share: beyond ``slots`` at once, all become slower alike."""

    slots: float
    left_s: dict[int, float] = field(default_factory=dict)
    """By load: seconds of reading left, alone."""
    at_s: float = 0.0
    turn: int = 0
    """Changes with every change of speed: what was foreseen before no longer holds."""

    @property
    def speed(self) -> float:
        return min(1.0, self.slots / len(self.left_s)) if self.left_s else 1.0

    def pass_to(self, now_s: float) -> None:
        read_s = (now_s - self.at_s) * self.speed
        for load in self.left_s:
            self.left_s[load] -= read_s
        self.at_s = now_s

    def begin(self, load: int, seconds: float, now_s: float) -> None:
        self.pass_to(now_s)
        self.left_s[load] = seconds
        self.turn += 1

    def end(self, load: int, now_s: float) -> None:
        if load in self.left_s:
            self.pass_to(now_s)
            del self.left_s[load]
            self.turn += 1

    def next_end(self) -> tuple[float, int] | None:
        """(when, load) of the one that ends first at the present speed."""
        if not self.left_s:
            return None
        load = min(self.left_s, key=lambda each: (self.left_s[each], each))
        return self.at_s + max(0.0, self.left_s[load]) / self.speed, load


class Ground(Protocol):
    """What replicas are placed on."""

    shares_cores: bool
    """Whether replicas get in each other's way."""

    def place(self, model: int, profile: ModelProfile, now_s: float, *, where: str) -> Machine | None:
        """A machine with room, which is taken; None: wait. May order a machine.

        ``where`` names one that was decided on; another only where that one cannot be had. Empty: any.
        """
        ...

    def leave(self, machine: Machine, model: int, profile: ModelProfile, *, now_s: float) -> None: ...

    def shown(self, now_s: float) -> tuple[MachineView, ...]:
        """Those on which a decision may start something; none where there is nothing to choose."""
        ...

    def cost_usd(self, now_s: float) -> float: ...

    def next_ready_s(self, now_s: float) -> float | None:
        """When the next machine that was ordered can be used."""
        ...

    def tidy(self, now_s: float) -> None:
        """Gives back what has been empty for long."""
        ...


class Slots:
    """So many replicas, whatever they weigh; each has cores and bandwidth of its own."""

    shares_cores = False

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        pool = MachinePool(name="slots", cpus=float(most), memory_bytes=most)
        self._all = Machine(pool, pool.name, 0.0, 0.0, Channel(float(most)))

    def place(self, model: int, profile: ModelProfile, now_s: float, *, where: str) -> Machine | None:  # noqa: ARG002
        if self._taken >= self._most:
            return None
        self._taken += 1
        return self._all

    def leave(self, machine: Machine, model: int, profile: ModelProfile, *, now_s: float) -> None:  # noqa: ARG002
        self._taken -= 1

    def shown(self, now_s: float) -> tuple[MachineView, ...]:  # noqa: ARG002 - as in Ground
        return ()

    def cost_usd(self, now_s: float) -> float:  # noqa: ARG002 - as in Ground
        """Replicas are priced themselves."""
        return 0.0

    def next_ready_s(self, now_s: float) -> float | None:  # noqa: ARG002 - as in Ground
        return None

    def tidy(self, now_s: float) -> None:
        """Slots cost nothing while they are empty."""


class Machines:
    """Pools in the order in which they were written."""

    shares_cores = True

    def __init__(self, pools: tuple[MachinePool, ...], *, seed: int, paid_from_s: float = 0.0) -> None:
        self._pools = pools
        self._seed = seed
        self._paid_from_s = paid_from_s
        self._spent_usd = 0.0
        self._ordered = 0
        self._all: list[Machine] = []
        for pool in pools:
            for _ in range(pool.least):
                self._all.append(self._machine(pool, self._free_names(pool, 1)[0], ordered_s=0.0, ready_s=0.0))

    def place(self, model: int, profile: ModelProfile, now_s: float, *, where: str) -> Machine | None:
        named = next((each for each in self._all if each.name == where), None)
        if named is None and where and self._order_named(where, now_s):
            return None
        best, coming = self._best(model, profile, now_s) if named is None else (named, False)
        if best is None and not coming:
            self._order(model, profile, now_s)
        if best is None or best.ready_s > now_s or not best.fits(model, profile):
            return None
        best.take(model, profile)
        return best

    def _best(self, model: int, profile: ModelProfile, now_s: float) -> tuple[Machine | None, bool]:
        """The fullest machine with room, and whether one that has room is under way."""
        fitting = [each for each in self._all if each.fits(model, profile)]
        ready = [each for each in fitting if each.ready_s <= now_s]
        return max(ready, key=lambda each: each.memory_bytes, default=None), len(ready) < len(fitting)

    def leave(self, machine: Machine, model: int, profile: ModelProfile, *, now_s: float) -> None:
        machine.give_back(model, profile)
        if not machine.holds:
            machine.empty_since_s = now_s

    def shown(self, now_s: float) -> tuple[MachineView, ...]:
        if sum(pool.most for pool in self._pools) == 1:
            return ()
        there = [_view(each.pool, each.name, max(0.0, each.ready_s - now_s)) for each in self._all]
        for pool in self._pools:
            if not _sold_out(pool, now_s):
                wait_s = pool.provision.median_s
                there += [_view(pool, name, wait_s) for name in self._free_names(pool, SHOWN_AHEAD)]
        return tuple(there)

    def cost_usd(self, now_s: float) -> float:
        return self._spent_usd + sum(self._price(machine, now_s) for machine in self._all)

    def next_ready_s(self, now_s: float) -> float | None:
        return min((each.ready_s for each in self._all if each.ready_s > now_s), default=None)

    def tidy(self, now_s: float) -> None:
        for pool in self._pools:
            own = [machine for machine in self._all if machine.pool is pool]
            spare = len(own) - pool.least
            for machine in own[::-1][: max(0, spare)] if spare > 0 else ():
                idle_s = now_s - max(machine.empty_since_s, machine.ready_s)
                if not machine.holds and idle_s >= pool.linger_s:
                    self._spent_usd += self._price(machine, now_s)
                    self._all.remove(machine)

    def _order(self, model: int, profile: ModelProfile, now_s: float) -> None:
        """One of the first pool that would hold it."""
        for pool in self._pools:
            names = [] if _sold_out(pool, now_s) else self._free_names(pool, 1)
            if names and self._machine(pool, names[0], ordered_s=now_s, ready_s=now_s).fits(model, profile):
                self._obtain(pool, names[0], now_s)
                return

    def _order_named(self, name: str, now_s: float) -> bool:
        """Whether that one could be ordered, and was."""
        for pool in self._pools:
            if not _sold_out(pool, now_s) and name in self._free_names(pool, pool.most):
                self._obtain(pool, name, now_s)
                return True
        return False

    def _obtain(self, pool: MachinePool, name: str, now_s: float) -> None:
        self._ordered += 1
        drawn = np.random.default_rng((self._seed, 13, self._ordered)).random()
        ready_s = now_s + pool.provision.at(float(drawn))
        self._all.append(self._machine(pool, name, ordered_s=now_s, ready_s=ready_s))

    def _free_names(self, pool: MachinePool, count: int) -> list[str]:
        """Of machines that could be obtained, the first few."""
        taken = {each.name for each in self._all if each.pool is pool}
        prefix = f"{self._pools.index(pool):02}-{pool.name}"  # earlier pools come first where nothing else decides
        free = (name for i in range(pool.most) if (name := f"{prefix}-{i:05}") not in taken)
        return list(itertools.islice(free, min(count, pool.most - len(taken))))

    def _machine(self, pool: MachinePool, name: str, *, ordered_s: float, ready_s: float) -> Machine:
        return Machine(pool, name, ready_s, ordered_s, Channel(pool.load_slots), empty_since_s=ready_s)

    def _price(self, machine: Machine, now_s: float) -> float:
        """Paid from the order on, as replicas are."""
        paid_s = max(0.0, now_s - max(machine.ordered_s, self._paid_from_s))
        return paid_s * machine.pool.price_usd_per_h / 3600


def _sold_out(pool: MachinePool, now_s: float) -> bool:
    return any(a <= now_s < b for a, b in pool.stock_outs)


def _view(pool: MachinePool, name: str, ready_in_s: float) -> MachineView:
    return MachineView(
        name=name,
        cpus=pool.cpus,
        memory_bytes=pool.memory_bytes,
        device_bytes=pool.device_bytes,
        disk_bytes=pool.disk_bytes,
        load_slots=pool.load_slots,
        ready_in_s=ready_in_s,
    )


def ground_for(capacity: Capacity, *, seed: int, paid_from_s: float = 0.0) -> Ground:
    if capacity.replicas is not None:
        return Slots(capacity.replicas)
    return Machines(capacity.machines, seed=seed, paid_from_s=paid_from_s)
