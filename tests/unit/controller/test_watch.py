"""Crash loops are parked; accidents are not."""

import pytest

from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.controller.spec import ModelSpec
from sizewise.controller.watch import FIRST_PARK_S, LONGEST_PARK_S, Parking, stops_of_overweight, stops_of_parked
from sizewise.core.fleet import ReplicaState
from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, Memory, ModelFacts, ModelProfile, Source
from sizewise.core.units import MIB
from sizewise.protocols.backend import ReplicaObserved

FACTS = ModelFacts(format="onnx", platform="onnx_onnxv1", runtime="onnx", disk_bytes=1)
RECORD = ModelRecord(
    wants=ModelSpec(name="a", uri="a.onnx"),
    origin="deploy",
    serving=VersionRecord(hash="1" * 64, version="v1", uri="", facts=FACTS),
)


def replica(
    state: ReplicaState, *, number: int = 1, died_s: float | None = None, why: str = "exit 1", version: str = "v1"
) -> ReplicaObserved:
    return ReplicaObserved(
        replica_id=f"r{number}",
        model="a",
        version=version,
        state=state,
        pid=None,
        since_s=died_s or 0.0,
        started_at_s=0.0,
        last_exit=None if died_s is None else why,
        last_exit_at_s=died_s,
    )


LOADING, READY, FAILED = ReplicaState.LOADING, ReplicaState.READY, ReplicaState.FAILED


@pytest.mark.parametrize(
    ("deaths", "parked"),
    [
        pytest.param([replica(LOADING, died_s=t) for t in (1, 2, 3)], False, id="three deaths of one replica"),
        pytest.param([replica(LOADING, died_s=t) for t in (1, 2, 3, 4)], True, id="four deaths of one replica"),
        pytest.param([replica(LOADING, died_s=4)] * 9, False, id="one death, seen nine times"),
        pytest.param([replica(LOADING, number=n, died_s=4) for n in range(9)], False, id="nine replicas at once"),
        pytest.param([replica(LOADING, died_s=t) for t in (1, 101, 201, 301)], False, id="one every 100 s"),
        pytest.param([replica(FAILED, number=n, died_s=n) for n in (1, 2, 3)], True, id="three loads that failed"),
        pytest.param([replica(LOADING, died_s=t, why="out of memory") for t in (1, 2)], True, id="twice out of memory"),
        pytest.param([replica(LOADING, died_s=t, version="v2") for t in (1, 2, 3, 4)], False, id="another version"),
    ],
)
def test_what_is_a_crash_loop(deaths: list[ReplicaObserved], parked: bool) -> None:
    parking = Parking()
    for death in deaths:
        assert death.last_exit_at_s is not None
        parking.absorb(RECORD, [death], now_s=death.last_exit_at_s, load_s=0.1)
    now_s = deaths[-1].last_exit_at_s or 0.0
    assert ("a" in parking.until_s(now_s)) is parked
    assert (parking.failure("a", now_s) is not None) is parked


def test_each_try_that_fails_waits_longer_and_calm_forgives() -> None:
    parking, now_s, waits = Parking(), 1000.0, []
    for number in range(12):
        for n in range(3 if number == 0 else 1):
            parking.absorb(RECORD, [replica(FAILED, number=10 * number + n, died_s=now_s)], now_s=now_s, load_s=0.1)
            now_s += 1
        waits.append(parking.until_s(now_s)["a"] - (now_s - 1))
        now_s = parking.until_s(now_s)["a"] + 1
        assert not parking.until_s(now_s)
    assert waits[0] == FIRST_PARK_S
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_PARK_S
    calm = ReplicaObserved(
        replica_id="r", model="a", version="v1", state=READY, pid=1, since_s=now_s, started_at_s=now_s
    )
    parking.absorb(RECORD, [calm], now_s=now_s + 31, load_s=0.1)
    parking.absorb(RECORD, [replica(FAILED, number=999, died_s=now_s + 40)], now_s=now_s + 40, load_s=0.1)
    assert not parking.until_s(now_s + 40), "one death after calm is an accident again"


def test_parked_models_are_stopped_but_not_what_answers() -> None:
    replicas = [replica(LOADING, number=1), replica(READY, number=2), replica(ReplicaState.DRAINING, number=3)]
    assert [stop.replica_id for stop in stops_of_parked(replicas, {"a": 1.0})] == ["r1"]
    assert not stops_of_parked(replicas, {})


@pytest.mark.parametrize(
    ("source", "memory_mib", "ended"),
    [
        pytest.param(Source.MEASURED, 300, False, id="half more: allowed"),
        pytest.param(Source.MEASURED, 301, True, id="more than that"),
        pytest.param(Source.ESTIMATED, 3000, False, id="an estimate condemns nobody"),
    ],
)
def test_overweight(source: Source, memory_mib: int, ended: bool) -> None:
    profile = ModelProfile(
        facts=FACTS,
        load=LoadTime(),
        memory=Memory(peak_bytes=200 * MIB),
        curve=LatencyCurve((BatchPoint(batch=1, p50_s=0.01, p95_s=0.01),)),
        source=source,
    )
    heavy = ReplicaObserved(
        replica_id="r1",
        model="a",
        version="v1",
        state=READY,
        pid=1,
        since_s=0.0,
        started_at_s=0.0,
        memory_bytes=memory_mib * MIB,
    )
    assert bool(stops_of_overweight([heavy], {("a", "v1"): profile})) is ended
