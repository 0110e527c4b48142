"""Where replicas go: equal slots under a cap, or machines that are obtained, shared, paid for and given back."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sizewise.core.profiles import Memory
from sizewise.simulation.scenario import Capacity, MachinePool


@dataclass(slots=True, eq=False)
class Machine:
    pool: MachinePool
    ready_s: float
    """When it can be used."""
    ordered_s: float
    loads: "Channel"
    memory_bytes: int = 0
    """In use."""
    holds: dict[int, int] = field(default_factory=dict)
    """Replicas by model."""
    empty_since_s: float = 0.0


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

    def place(self, model: int, memory: Memory, now_s: float) -> Machine | None:
        """A machine with room, which is taken; None: wait. May order a machine."""
        ...

    def leave(self, machine: Machine, model: int, memory: Memory, *, now_s: float) -> None: ...

    def machines(self) -> Iterator[Machine]: ...

    def cost_usd(self, now_s: float) -> float: ...

    def next_ready_s(self, now_s: float) -> float | None:
        """When the next machine that was ordered can be used."""
        ...

    def tidy(self, now_s: float) -> None:
        """Gives back what has been empty for long."""
        ...


class Slots:
    """So many replicas, whatever they weigh; each has cores and bandwidth of its own."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        pool = MachinePool(name="slots", cpus=float(most), memory_bytes=most)
        self._all = Machine(pool, 0.0, 0.0, Channel(float(most)))

    def place(self, model: int, memory: Memory, now_s: float) -> Machine | None:  # noqa: ARG002 - as in Ground
        if self._taken >= self._most:
            return None
        self._taken += 1
        return self._all

    def leave(self, machine: Machine, model: int, memory: Memory, *, now_s: float) -> None:  # noqa: ARG002
        self._taken -= 1

    def machines(self) -> Iterator[Machine]:
        return iter(())

    def cost_usd(self, now_s: float) -> float:  # noqa: ARG002 - as in Ground
        """Replicas are priced themselves."""
        return 0.0

    def next_ready_s(self, now_s: float) -> float | None:  # noqa: ARG002 - as in Ground
        return None

    def tidy(self, now_s: float) -> None:
        """Slots cost nothing while they are empty."""


class Machines:
    """Pools in the order in which they were written; the fullest machine with room gets the next replica."""

    def __init__(self, pools: tuple[MachinePool, ...], *, seed: int, paid_from_s: float = 0.0) -> None:
        self._pools = pools
        self._seed = seed
        self._paid_from_s = paid_from_s
        self._spent_usd = 0.0
        self._ordered = 0
        self._all = [self._machine(pool, 0.0, 0.0) for pool in pools for _ in range(pool.least)]

    def place(self, model: int, memory: Memory, now_s: float) -> Machine | None:
        best: Machine | None = None
        coming = False
        for machine in self._all:
            free = machine.pool.memory_bytes - machine.memory_bytes - _needs(machine, model, memory)
            if free < 0:
                continue
            if machine.ready_s > now_s:
                coming = True
            elif best is None or machine.memory_bytes > best.memory_bytes:
                best = machine
        if best is None:
            if not coming:
                self._order(memory, now_s)
            return None
        best.memory_bytes += _needs(best, model, memory)
        best.holds[model] = best.holds.get(model, 0) + 1
        return best

    def leave(self, machine: Machine, model: int, memory: Memory, *, now_s: float) -> None:
        machine.holds[model] -= 1
        if not machine.holds[model]:
            del machine.holds[model]
        machine.memory_bytes -= _needs(machine, model, memory)
        if not machine.holds:
            machine.empty_since_s = now_s

    def machines(self) -> Iterator[Machine]:
        return iter(self._all)

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

    def _order(self, memory: Memory, now_s: float) -> None:
        for pool in self._pools:
            out = any(a <= now_s < b for a, b in pool.stock_outs)
            fits = memory.replica_bytes + memory.mapped_bytes <= pool.memory_bytes
            if fits and not out and sum(machine.pool is pool for machine in self._all) < pool.most:
                self._ordered += 1
                drawn = np.random.default_rng((self._seed, 13, self._ordered)).random()
                self._all.append(self._machine(pool, now_s, now_s + pool.provision.at(float(drawn))))
                return

    def _machine(self, pool: MachinePool, ordered_s: float, ready_s: float) -> Machine:
        return Machine(pool, ready_s, ordered_s, Channel(pool.load_slots), empty_since_s=ready_s)

    def _price(self, machine: Machine, now_s: float) -> float:
        """Paid from the order on, as replicas are."""
        paid_s = max(0.0, now_s - max(machine.ordered_s, self._paid_from_s))
        return paid_s * machine.pool.price_usd_per_h / 3600


def _needs(machine: Machine, model: int, memory: Memory) -> int:
    """Mapped weights are there once for all replicas of a model on a machine."""
    return memory.replica_bytes + (0 if model in machine.holds else memory.mapped_bytes)


def ground_for(capacity: Capacity, *, seed: int, paid_from_s: float = 0.0) -> Ground:
    if capacity.replicas is not None:
        return Slots(capacity.replicas)
    return Machines(capacity.machines, seed=seed, paid_from_s=paid_from_s)
