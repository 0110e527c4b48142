"""Totals only grow, whatever gateway and controller do."""

from hypothesis import given
from hypothesis import strategies as st

from sizewise.controller.counters import Counters, Totals
from sizewise.protocols.backend import ModelTraffic, Snapshot

Step = tuple[int, bool, bool]


def look(epoch: str, arrivals: int) -> Snapshot:
    traffic = (
        ModelTraffic(
            model="a", arrivals=arrivals, answered=arrivals, answer_s=arrivals / 8, latency_counts=(arrivals, 0)
        ),
    )
    return Snapshot(at_s=0.0, traffic=traffic, traffic_at_s=0.0, gateway_epoch=epoch)


@given(st.lists(st.tuples(st.integers(0, 1000), st.booleans(), st.booleans()), max_size=30))
def test_every_request_that_was_seen_counts_once(steps: list[Step]) -> None:
    """(requests since the last look, gateway restarts after it, controller restarts after it)."""
    counters, epoch, in_epoch, expected = Counters(), 0, 0, 0
    for new, gateway_restarts, controller_restarts in steps:
        in_epoch, expected = in_epoch + new, expected + new
        counters.absorb(look(str(epoch), in_epoch), {"a": "v1"})
        assert counters.total("a").arrivals == expected
        assert sum(counters.total("a").latency_counts) == expected
        assert counters.total("a").answer_s == expected / 8
        if controller_restarts:
            counters = Counters(counters.to_keep())
        if gateway_restarts:
            epoch, in_epoch = epoch + 1, 0


def test_each_version_has_its_own() -> None:
    counters = Counters()
    counters.absorb(look("1", 5), {"a": "v1"})
    counters.absorb(look("1", 12), {"a": "v2"})
    assert {v: t.arrivals for v, t in counters.by_version("a").items()} == {"v1": 5, "v2": 7}
    assert counters.total("a").arrivals == 12


def test_a_gateway_that_does_not_answer_changes_nothing() -> None:
    counters = Counters()
    counters.absorb(look("1", 5), {"a": "v1"})
    counters.absorb(Snapshot(at_s=1.0), {"a": "v1"})
    counters.absorb(look("1", 6), {"a": "v1"})
    assert counters.total("a").arrivals == 6


def test_a_model_that_was_deployed_again_begins_anew() -> None:
    counters = Counters()
    counters.absorb(look("1", 5), {"a": "v1"})
    counters.forget("a")
    counters.absorb(look("1", 7), {"a": "v1"})
    assert counters.total("a").arrivals == 2
    assert counters.total("unknown") == Totals()
