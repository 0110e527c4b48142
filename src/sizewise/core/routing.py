"""Which replica gets the next request: the one with least outstanding work, and of equals the one used last."""


class Slot:
    """One ready replica as routing sees it. The caller keeps what belongs to it in ``owner``."""

    __slots__ = ("max_outstanding", "outstanding", "owner", "replica_id", "used")

    def __init__(self, replica_id: str, max_outstanding: int, owner: object = None) -> None:
        self.replica_id = replica_id
        self.max_outstanding = max_outstanding
        self.outstanding = 0
        self.used = 0
        """Number of the last request it got: higher is later."""
        self.owner = owner


class Routing:
    """The ready replicas of one model.

    Ties go to the replica used most recently, so that work stays together, the others grow idle and can go (index
    packing; Gandhi et al. 2012, AutoScale). A few replicas are searched faster than a heap is kept.
    """

    __slots__ = ("_clock", "outstanding", "slots")

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.outstanding = 0
        """At all replicas together."""
        self._clock = 0

    @property
    def ready(self) -> int:
        return len(self.slots)

    def add(self, slot: Slot) -> None:
        """Makes a replica available; one with the same id is replaced."""
        self.remove(slot.replica_id)
        self.slots.append(slot)
        self.outstanding += slot.outstanding

    def remove(self, replica_id: str) -> Slot | None:
        """Takes a replica out. Its outstanding work is no longer counted here."""
        for i, slot in enumerate(self.slots):
            if slot.replica_id == replica_id:
                del self.slots[i]
                self.outstanding -= slot.outstanding
                return slot
        return None

    def take(self) -> Slot | None:
        """The replica for one more request, which is counted as outstanding at once; None when all are full."""
        best: Slot | None = None
        least = 1 << 62
        for slot in self.slots:
            n = slot.outstanding
            if n < slot.max_outstanding and (n < least or (n == least and (best is None or slot.used > best.used))):
                best = slot
                least = n
        return self._taken(best)

    def take_idle(self) -> Slot | None:
        """A replica that has nothing else, for a request that may have killed one; None when there is none."""
        return self._taken(next((s for s in self.slots if s.outstanding == 0 and s.max_outstanding > 0), None))

    def done(self, slot: Slot) -> None:
        """One request less at this replica. Harmless for one that has been removed meanwhile."""
        if slot.outstanding > 0:
            slot.outstanding -= 1
            if slot in self.slots:
                self.outstanding -= 1

    def _taken(self, slot: Slot | None) -> Slot | None:
        if slot is not None:
            self._clock += 1
            slot.used = self._clock
            slot.outstanding += 1
            self.outstanding += 1
        return slot
