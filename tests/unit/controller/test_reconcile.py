"""What a decision becomes: routes, stops, starts."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from sizewise.controller.reconcile import Surroundings, actions_of, replica_spec, route_of
from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.controller.spec import ModelSpec
from sizewise.core.density import Placement
from sizewise.core.fleet import Demand, FleetDecision, ModelDecision, ModelView, ReplicaState, ScalingPolicy
from sizewise.core.forms import PACKED, Form
from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, Memory, ModelFacts, ModelProfile, Source
from sizewise.core.reasons import because
from sizewise.protocols.backend import (
    Action,
    ModelRoute,
    ModelTraffic,
    PublishModel,
    ReplicaObserved,
    Snapshot,
    StartReplica,
    StopReplica,
    TakeForm,
    WithdrawModel,
)

FACTS = ModelFacts(format="onnx", platform="onnx_onnxv1", runtime="onnx", disk_bytes=1, entry="m.onnx")
VERSION = VersionRecord(hash="1" * 64, version="v1", uri="", facts=FACTS, path="store/1")
RECORD = ModelRecord(wants=ModelSpec(name="a", uri="a.onnx"), origin="deploy", serving=VERSION)
PROFILE = ModelProfile(
    facts=FACTS,
    load=LoadTime(load_s=1.0),
    memory=Memory(),
    curve=LatencyCurve(tuple(BatchPoint(batch=b, p50_s=0.01, p95_s=0.01) for b in (1, 8, 64))),
    source=Source.MEASURED,
    threads=4,
)
VIEW = ModelView(
    name="a", version="v1", profile=PROFILE, slo=None, policy=ScalingPolicy(), demand=Demand(observed_at_s=0.0)
)
ROUTE = route_of(RECORD, PROFILE, None)


def around(published: Mapping[str, ModelRoute], *, refused: Mapping[str, str] | None = None) -> Surroundings:
    return Surroundings(
        records={"a": RECORD},
        published=published,
        refused=refused or {},
        unmeasured=frozenset(),
        cpus=2.0,
        new_id=iter("xyz").__next__,
    )


def acts(decided: ModelDecision, snapshot: Snapshot, surroundings: Surroundings) -> tuple[Action, ...]:
    return actions_of(snapshot, FleetDecision(at_s=0.0, models=(decided,)), {"a": VIEW}, around=surroundings)


def replica(replica_id: str, *, model: str = "a", version: str = "v1", draining: bool = False) -> ReplicaObserved:
    state = ReplicaState.DRAINING if draining else ReplicaState.READY
    return ReplicaObserved(
        replica_id=replica_id, model=model, version=version, state=state, pid=1, since_s=0.0, started_at_s=0.0
    )


QUIET = ModelDecision(name="a", desired=0, wanted=0, reason=because("min", replicas=0))


def test_the_first_route_goes_before_the_first_replica() -> None:
    publish, first, second = acts(replace(QUIET, start=2, start_version="v1"), Snapshot(at_s=0.0), around({}))
    assert publish == PublishModel(route=ROUTE)
    assert isinstance(first, StartReplica)
    assert isinstance(second, StartReplica)
    assert (first.spec.replica_id, second.spec.replica_id) == ("x", "y")
    assert (first.spec.threads, first.spec.max_batch, first.spec.max_outstanding) == (2, 64, 128)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({}, False, id="the same"),
        pytest.param({"service_s": ROUTE.service_s * 1.4}, False, id="a little slower"),
        pytest.param({"service_s": ROUTE.service_s * 1.6}, True, id="much slower"),
        pytest.param({"version": "v0"}, True, id="another version"),
        pytest.param({"refuse": "parked"}, True, id="can be woken again"),
        pytest.param({"max_queue": 1}, True, id="another queue"),
    ],
)
def test_a_route_is_told_when_it_matters(change: dict[str, object], told: bool) -> None:
    known = replace(ROUTE, **change)  # type: ignore[arg-type]  # a table of fields of different types
    assert bool(acts(QUIET, Snapshot(at_s=0.0), around({"a": known}))) is told


def test_who_shares_a_process_computes_on_one_core() -> None:
    placement = Placement(hosts={"a": ("h1", "")})
    _, shared, own = acts(
        replace(QUIET, start=2, start_version="v1"), Snapshot(at_s=0.0), replace(around({}), placement=placement)
    )
    assert isinstance(shared, StartReplica)
    assert isinstance(own, StartReplica)
    assert (shared.spec.host, shared.spec.threads) == ("h1", 1)
    assert (own.spec.host, own.spec.threads) == ("", 2), "what the profile was taken with, within the processors"


def test_what_belongs_to_nobody_goes() -> None:
    replicas = (
        replica("stranger", model="b"),
        replica("superseded", version="v0"),
        replica("surplus"),
        replica("stays"),
        replica("leaving", model="b", draining=True),
    )
    snapshot = Snapshot(at_s=0.0, replicas=replicas, traffic=(ModelTraffic(model="b"), ModelTraffic(model="a")))
    actions = acts(replace(QUIET, stop=("surplus",)), snapshot, around({"a": ROUTE}))
    assert [a.model for a in actions if isinstance(a, WithdrawModel)] == ["b"]
    assert [a.replica_id for a in actions if isinstance(a, StopReplica)] == ["stranger", "superseded", "surplus"]


@pytest.mark.parametrize(
    ("batchable", "unmeasured", "batch"),
    [
        pytest.param(True, False, 64, id="what pays, as measured"),
        pytest.param(False, True, 1, id="a fixed batch dimension"),
    ],
)
def test_batches(batchable: bool, unmeasured: bool, batch: int) -> None:
    version = replace(VERSION, facts=replace(FACTS, batchable=batchable))
    surroundings = replace(around({}), unmeasured={version.hash} if unmeasured else frozenset())
    assert replica_spec(RECORD, version, PROFILE, around=surroundings).max_batch == batch


def test_an_unmeasured_model_batches_so_that_there_is_something_to_learn_from() -> None:
    single = replace(PROFILE, curve=LatencyCurve(PROFILE.curve.points[:1]), source=Source.ESTIMATED)
    surroundings = replace(around({}), unmeasured={VERSION.hash})
    assert replica_spec(RECORD, VERSION, single, around=surroundings).max_batch == 16


@pytest.mark.parametrize(
    ("hold_s", "load_s", "expected_s"),
    [
        pytest.param(0.0, 100.0, 0.0, id="never waits"),
        pytest.param(60.0, 1.0, 60.0, id="long enough"),
        pytest.param(60.0, 30.0, 128.0, id="a load takes longer than that"),
    ],
)
def test_how_long_a_request_may_wait(hold_s: float, load_s: float, expected_s: float) -> None:
    record = replace(RECORD, wants=replace(RECORD.wants, hold_s=hold_s))
    assert route_of(record, replace(PROFILE, load=LoadTime(load_s=load_s)), None).hold_s == expected_s


FORM = Form(name=PACKED, key="packed-1", runtime="onnx", path="forms/1", entry="model.onnx", disk_bytes=2)


@pytest.mark.parametrize(
    ("change", "takes"),
    [
        pytest.param({}, True, id="loaded before there was one"),
        pytest.param({"form": FORM.key}, False, id="told already, whether or not it could open it"),
        pytest.param({"stage": PACKED}, False, id="answers from one"),
        pytest.param({"settled": False}, False, id="opens one"),
        pytest.param({"host": "h"}, False, id="shares a process"),
        pytest.param({"state": ReplicaState.LOADING}, False, id="loads still"),
        pytest.param({"version": "v0"}, False, id="of another version"),
    ],
)
def test_who_takes_up_a_form(change: dict[str, object], takes: bool) -> None:
    one = replace(replica("one"), **change)  # type: ignore[arg-type]  # a table of fields of different types
    surroundings = replace(around({"a": ROUTE}), form_of={VERSION.hash: FORM}.get)
    actions = acts(QUIET, Snapshot(at_s=0.0, replicas=(one,)), surroundings)
    assert [a for a in actions if isinstance(a, TakeForm)] == [TakeForm(replica_id="one", form=FORM)] * takes
