from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.routing import Routing, Slot


def routing(*most: int) -> Routing:
    it = Routing()
    for i, n in enumerate(most):
        it.add(Slot(f"r{i}", n))
    return it


def taken(it: Routing) -> str | None:
    slot = it.take()
    return slot.replica_id if slot else None


def test_least_outstanding_below_the_most() -> None:
    it = routing(1, 2, 2)
    names = [taken(it) for _ in range(6)]
    assert sorted(names[:3], key=str) == ["r0", "r1", "r2"]
    assert sorted(names[3:5], key=str) == ["r1", "r2"]
    assert names[5] is None
    assert it.outstanding == 5


def test_ties_go_to_the_one_used_last_so_that_the_others_fall_idle() -> None:
    it = routing(4, 4, 4)
    used = []
    for _ in range(5):
        slot = it.take()
        assert slot is not None
        used.append(slot.replica_id)
        it.done(slot)
    assert len(set(used)) == 1


def test_without_replicas_there_is_none() -> None:
    assert routing().take() is None
    assert routing().ready == 0


def test_a_suspect_request_gets_a_replica_of_its_own() -> None:
    it = routing(4, 4)
    first, second = it.take(), it.take_idle()
    assert first is not None
    assert second is not None
    assert first.replica_id != second.replica_id
    assert it.take_idle() is None


def test_removed_replicas_take_their_work_with_them() -> None:
    it = routing(4, 4)
    slot = it.take()
    assert slot is not None
    assert it.remove(slot.replica_id) is slot
    assert (it.ready, it.outstanding) == (1, 0)
    it.done(slot)
    assert (slot.outstanding, it.outstanding) == (0, 0)
    assert it.remove("unknown") is None


def test_the_same_replica_again_replaces_itself() -> None:
    it = routing(4)
    it.take()
    it.add(Slot("r0", 9))
    assert (it.ready, it.outstanding) == (1, 0)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.lists(st.booleans(), max_size=60))
def test_counts_agree_and_the_most_is_never_passed(most: list[int], steps: list[bool]) -> None:
    it = routing(*most)
    held: list[Slot] = []
    for take in steps:
        if take and (slot := it.take()) is not None:
            held.append(slot)
        elif held and not take:
            it.done(held.pop(0))
        assert it.outstanding == len(held) == sum(s.outstanding for s in it.slots)
        assert all(s.outstanding <= s.max_outstanding for s in it.slots)
