"""Requests that wait, are held, refused, retried, cancelled, and how they are counted."""

from typing import Any

import pytest

from sizewise.core.histogram import bucket_of
from sizewise.gateway.model import Model
from sizewise.protocols.backend import ModelTraffic
from tests.unit.gateway.rig import Client, FakeReplica, Rig, infer, route

BAD = b'{"inputs":[{"name":"z","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'


def counts(model: Model, *names: str) -> dict[str, Any]:
    report: ModelTraffic = model.report()
    return {name: getattr(report, name) for name in names}


def now_s(client: Client) -> float:
    return client.connection.queue[0].arrived_s


# Holding


def test_a_cold_model_is_woken_by_a_valid_request() -> None:
    made = Rig()
    model = made.add()
    clients = [made.ask(infer()) for _ in range(3)]
    assert made.events == [{"event": "cold", "model": "m"}]
    assert counts(model, "arrivals", "held", "queued", "cold_held") == {
        "arrivals": 3,
        "held": 3,
        "queued": 3,
        "cold_held": 3,
    }
    replica = FakeReplica(max_outstanding=2)
    model.attach(replica)
    assert len(replica.pending) == 2
    assert counts(model, "held", "queued", "in_flight") == {"held": 0, "queued": 1, "in_flight": 2}
    while replica.pending:
        replica.finish()
    assert [client.statuses for client in clients] == [[200]] * 3


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(infer(BAD), id="unknown input"),
        pytest.param(infer(b"{"), id="not JSON"),
        pytest.param(infer(b""), id="empty"),
        pytest.param(infer(b"[" * 10_000), id="deep nesting"),
        pytest.param(infer(b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,NaN]}]}'), id="NaN"),
        pytest.param(infer(b'{"inputs":"\xff"}'), id="not UTF-8"),
        pytest.param(infer(b'{"instances":[[1]]}', path="/v1/models/m:predict"), id="v1, wrong shape"),
    ],
)
def test_an_invalid_request_wakes_nothing(request_bytes: bytes) -> None:
    made = Rig()
    model = made.add()
    client = made.ask(request_bytes)
    assert client.statuses == [400]
    assert client.error
    assert made.events == []
    assert counts(model, "client_errors", "held", "arrivals") == {"client_errors": 1, "held": 0, "arrivals": 0}
    assert model.report().last_arrival_s is None, "it is no demand"


def test_cold_is_announced_once_a_second_and_after_each_change_of_routes() -> None:
    made = Rig()
    model = made.add()
    client = made.ask(infer())
    began_s = now_s(client)
    made.ask(infer())
    model.sweep(began_s + 0.9)
    assert len(made.events) == 1
    model.sweep(began_s + 1.1)
    assert len(made.events) == 2
    model.set_route(route(service_s=0.5))
    made.ask(infer())
    assert len(made.events) == 3


def test_held_requests_are_bounded_in_number_and_time() -> None:
    made = Rig()
    model = made.add(max_queue=1, hold_s=5.0)
    held, refused = made.ask(infer()), made.ask(infer())
    assert refused.statuses == [429]
    assert b"Retry-After: " in refused.text
    began_s = now_s(held)
    model.sweep(began_s + 4.9)
    assert held.statuses == []
    model.sweep(began_s + 5.1)
    assert held.statuses == [503]
    assert b"Retry-After: " in held.text
    assert "did not wake" in held.error
    assert counts(model, "shed", "held", "errors") == {"shed": 2, "held": 0, "errors": 0}


def test_holding_can_be_turned_off() -> None:
    made = Rig()
    made.add(hold_s=0.0)
    assert made.ask(infer()).statuses == [503]
    assert made.events == [{"event": "cold", "model": "m"}]


def test_a_model_that_cannot_wake_refuses_at_once() -> None:
    made = Rig()
    model = made.add()
    held = made.ask(infer())
    model.set_route(route(refuse="needs 3.0 GiB of memory but there is 1.0 GiB"))
    refused = made.ask(infer())
    for client in (held, refused):
        assert client.statuses == [503]
        assert "3.0 GiB" in client.error
    assert len(made.events) == 1


def test_the_time_of_waking_is_not_the_requests_time() -> None:
    made = Rig()
    model = made.add(hold_s=60.0, timeout_s=10.0)
    patient = made.ask(infer())
    hasty = made.ask(infer(headers="X-Request-Timeout: 20\r\n"))
    began_s = now_s(patient)
    model.sweep(began_s + 21.0)
    assert (patient.statuses, hasty.statuses) == ([], [504])
    model.attach(FakeReplica())
    assert model.in_flight == 1


def test_a_withdrawn_model_answers_what_waits() -> None:
    made = Rig()
    made.add()
    held = made.ask(infer())
    made.gateway.set_routes({"models": {"m": None}})
    assert held.statuses == [404]
    assert made.ask(infer()).statuses == [404]


# Queueing


def test_least_outstanding_first_then_the_queue() -> None:
    made = Rig()
    replicas = [FakeReplica("a", max_outstanding=2), FakeReplica("b", max_outstanding=2)]
    model = made.add(*replicas)
    clients = [made.ask(infer()) for _ in range(5)]
    assert [len(replica.pending) for replica in replicas] == [2, 2]
    assert len(model.queue) == 1
    replicas[1].finish()
    assert len(model.queue) == 0
    assert [len(replica.pending) for replica in replicas] == [2, 2]
    for replica in replicas:
        while replica.pending:
            replica.finish()
    assert [client.statuses for client in clients] == [[200]] * 5


def test_the_queue_is_bounded() -> None:
    made = Rig()
    model = made.add(FakeReplica(max_outstanding=1), max_queue=2)
    clients = [made.ask(infer()) for _ in range(4)]
    assert [client.statuses for client in clients] == [[], [], [], [429]]
    assert b"Retry-After: " in clients[3].text
    assert counts(model, "shed", "arrivals") == {"shed": 1, "arrivals": 4}


def test_answers_that_would_be_late_are_refused_on_arrival() -> None:
    made = Rig()
    replica = FakeReplica(max_outstanding=64)
    model = made.add(replica, slo_s=0.1, service_s=0.05)
    clients = [made.ask(infer()) for _ in range(8)]
    statuses = [status for client in clients for status in client.statuses]
    assert statuses
    assert set(statuses) == {503}
    assert model.in_flight + len(statuses) == 8


@pytest.mark.parametrize(
    ("headers", "after_s", "statuses"),
    [
        pytest.param("", 29.0, [[], []], id="in time"),
        pytest.param("", 31.0, [[504], [504]], id="the model's timeout"),
        pytest.param("X-Request-Timeout: 2\r\n", 3.0, [[504], [504]], id="the client's timeout"),
    ],
)
def test_deadlines(headers: str, after_s: float, statuses: list[list[int]]) -> None:
    made = Rig()
    replica = FakeReplica(max_outstanding=1)
    model = made.add(replica)
    clients = [made.ask(infer(headers=headers)) for _ in range(2)]
    model.sweep(now_s(clients[0]) + after_s)
    assert [client.statuses for client in clients] == statuses
    expired = len([status for status in statuses if status])
    assert len(replica.cancelled) == min(1, expired)
    # At the replica it is the model's fault; in the queue it is load
    assert counts(model, "errors", "shed") == {"errors": min(1, expired), "shed": max(0, expired - 1)}


# Leaving


def test_a_client_that_leaves_disturbs_nobody() -> None:
    made = Rig()
    replica = FakeReplica(max_outstanding=1)
    model = made.add(replica)
    sent, queued, other = (made.ask(infer()) for _ in range(3))
    queued.leave()
    assert not replica.cancelled
    assert len(model.queue) == 1
    sent.leave()
    assert len(replica.cancelled) == 1
    assert len(replica.pending) == 1
    replica.finish()
    assert other.statuses == [200]
    assert counts(model, "cancelled", "answered", "queued") == {"cancelled": 2, "answered": 1, "queued": 0}
    assert made.gateway.buffered_bytes == 0


def test_a_replica_that_leaves_the_routes_answers_what_it_has() -> None:
    made = Rig()
    old, new = FakeReplica("old"), FakeReplica("new")
    model = made.add(old)
    first = made.ask(infer())
    model.detach(old)
    model.attach(new)
    second = made.ask(infer())
    assert [len(old.pending), len(new.pending)] == [1, 1]
    assert [old.was_closed] == [False]
    old.finish()
    assert [old.was_closed] == [True]
    new.finish()
    assert first.statuses == second.statuses == [200]


def test_requests_go_to_the_published_version_only() -> None:
    made = Rig()
    old, new = FakeReplica("old", version="v1"), FakeReplica("new", version="v2")
    model = made.add(old, new)
    made.ask(infer())
    assert [len(old.pending), len(new.pending)] == [1, 0]
    model.set_route(route(version="v2"))
    made.ask(infer())
    assert [len(old.pending), len(new.pending)] == [1, 1]


# Deaths


def test_unanswered_requests_are_retried_one_by_one_and_others_wait() -> None:
    made = Rig()
    first = FakeReplica("first", max_outstanding=3)
    model = made.add(first)
    clients = [made.ask(infer()) for _ in range(3)]
    first.die()
    assert made.events == [{"event": "cold", "model": "m"}]
    assert counts(model, "held", "in_flight") == {"held": 3, "in_flight": 0}
    second = FakeReplica("second", max_outstanding=3)
    model.attach(second)
    newcomer = made.ask(infer())
    for _ in range(3):
        assert len(second.pending) == 1
        assert next(iter(second.pending.values())).deaths == 1
        second.finish()
    assert [client.statuses for client in clients] == [[200]] * 3
    second.finish()
    assert newcomer.statuses == [200]


def test_a_suspect_waits_for_a_replica_of_its_own() -> None:
    made = Rig()
    dying, busy = FakeReplica("dying", max_outstanding=1), FakeReplica("busy", max_outstanding=5)
    model = made.add(busy)
    made.ask(infer())
    model.attach(dying)
    victim = made.ask(infer())
    assert len(dying.pending) == 1
    dying.die()
    waiting = made.ask(infer())
    assert len(busy.pending) == 1
    busy.finish()
    assert [x.deaths for x in busy.pending.values()] == [1]
    busy.finish()
    assert victim.statuses == [200]
    busy.finish()
    assert waiting.statuses == [200]


def test_a_request_that_kills_twice_is_named_and_harms_nobody_else() -> None:
    made = Rig()
    replicas = [FakeReplica(name, max_outstanding=2) for name in "abc"]
    model = made.add(replicas[0])
    killer, innocent = made.ask(infer(headers="X-Request-Id: job-7\r\n")), made.ask(infer())
    replicas[0].die()
    model.attach(replicas[1])
    replicas[1].die()
    assert killer.statuses == [500]
    assert "job-7" in killer.error
    assert "two replicas of model 'm'" in killer.error
    (poison,) = (event for event in made.events if event["event"] == "poison")
    assert poison["model"] == "m"
    assert "job-7" in poison["detail"]
    model.attach(replicas[2])
    replicas[2].finish()
    assert innocent.statuses == [200]
    assert counts(model, "errors", "answered", "in_flight") == {"errors": 1, "answered": 1, "in_flight": 0}


def test_a_suspect_whose_client_leaves_is_not_retried() -> None:
    made = Rig()
    first, second = FakeReplica("first"), FakeReplica("second")
    model = made.add(first)
    client = made.ask(infer())
    first.die()
    client.leave()
    model.attach(second)
    assert not second.pending
    assert model.waiting == 0


def test_a_request_that_never_arrived_is_not_suspected() -> None:
    made = Rig()
    replica = FakeReplica()
    model = made.add(replica)
    client = made.ask(infer())
    x = replica.release(1)
    assert x is not None
    replica.connected = False
    model.take_back(x)
    assert x.deaths == 0
    replica.start()
    replica.finish()
    assert client.statuses == [200]


# Counting


def test_counters() -> None:
    made = Rig()
    replica = FakeReplica(max_outstanding=9)
    model = made.add(replica, slo_s=1.0)
    for latency_s, status in ((0.5, 200), (2.0, 200), (0.1, 400), (0.1, 500)):
        made.ask(infer())
        began_s = next(iter(replica.pending.values())).arrived_s
        replica.finish(status=status, at_s=began_s + latency_s, compute_s=latency_s / 2)
    model.traffic.batch(4, 0.25)
    report = model.report()
    assert (report.answered, report.within_slo, report.client_errors, report.errors) == (2, 1, 1, 1)
    assert (report.rows, report.batches) == (4, 1)
    assert (report.answer_s, report.compute_s) == pytest.approx((2.5, 1.25)), "of those that were answered"
    assert report.batch_samples == ((4, 0.25),)
    assert sum(report.latency_counts) == 2
    assert report.latency_counts[bucket_of(0.5)] == 1
    assert report.last_arrival_s is not None
    assert model.report().batch_samples == ()
    for _ in range(600):
        model.traffic.batch(1, 0.1)
    assert len(model.report().batch_samples) == 512


def test_busy_and_idle_times() -> None:
    replica = FakeReplica()
    made = Rig()
    made.add(replica)
    client = made.ask(infer())
    began_s = now_s(client)
    assert replica.figures(began_s + 2.0) == {"outstanding": 1, "idle_s": 0.0, "busy_s": 2.0, "mute_s": 0.0}
    replica.release(1)
    replica.became_idle(began_s + 3.0)
    figures = {"outstanding": 0, "idle_s": 4.0, "busy_s": 3.0, "mute_s": 0.0}
    assert replica.figures(began_s + 7.0) == pytest.approx(figures)
