"""Live figures belong to one session: batches computed while another may have answered are not counted."""

from dataclasses import replace

from sizewise.controller.counters import Counters
from sizewise.controller.ledger import Ledger, Outlook
from sizewise.core.fleet import ReplicaState
from sizewise.core.forms import MAPPED, PACKED
from sizewise.protocols.backend import ModelTraffic, ReplicaObserved, Snapshot
from tests.unit.controller.test_reconcile import PROFILE, RECORD, VERSION

ONE = ReplicaObserved(
    replica_id="one", model="a", version="v1", state=ReplicaState.READY, pid=1, since_s=0.0, started_at_s=0.0
)
PLAIN, OPENING = ONE, replace(ONE, settled=False)
FIRST, SECOND = replace(ONE, stage=MAPPED, settled=False), replace(ONE, stage=PACKED)
OTHER = replace(ONE, replica_id="two")


def counted(*looks: tuple[ReplicaObserved, ...]) -> list[int]:
    """At each look one batch of as many rows as there were looks; which of them count in the end."""
    ledger = Ledger(Counters())
    outlook = Outlook(profiles={VERSION.hash: PROFILE}, memory_bytes=1 << 30, unix_s=0.0)
    for k, replicas in enumerate(looks, start=1):
        traffic = (ModelTraffic(model="a", arrivals=k, batch_samples=((k, 0.01),)),)
        snapshot = Snapshot(at_s=k, replicas=replicas, traffic=traffic, traffic_at_s=k, gateway_epoch="one")
        ledger.absorb(snapshot, [RECORD], outlook=outlook)
    return [rows for _, rows, _ in ledger.live("a", "v1").batches]


def test_a_first_session_is_not_counted_nor_what_it_computed_before_the_second_was_seen() -> None:
    assert counted((FIRST,), (FIRST,), (SECOND,), (SECOND,)) == [4]


def test_a_replica_that_takes_up_a_form_begins_anew() -> None:
    assert counted((PLAIN,), (PLAIN,)) == [1, 2]
    assert counted((PLAIN,), (OPENING,), (SECOND,), (SECOND,)) == [4]
    assert counted((PLAIN,), (SECOND,), (SECOND,)) == [3], "it may happen between two looks"


def test_one_that_could_not_open_it_goes_on_counting() -> None:
    assert counted((PLAIN,), (OPENING,), (PLAIN,), (PLAIN,)) == [1, 4]


def test_replicas_at_two_stages_are_not_counted_together() -> None:
    assert counted((PLAIN, OTHER), (SECOND, OTHER), (SECOND, replace(OTHER, stage=PACKED)), (SECOND,)) == [4]
