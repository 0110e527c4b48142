"""Crash loops are parked; accidents are not."""

from dataclasses import replace

import pytest

from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.controller.spec import ModelSpec
from sizewise.controller.watch import Parking, stops_of_overweight, stops_of_parked
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
    ("looks", "parked"),
    [
        pytest.param([[replica(LOADING, died_s=t)] for t in (1, 2)], False, id="two deaths before ready"),
        pytest.param([[replica(LOADING, died_s=t)] for t in (1, 2, 3)], True, id="three deaths before ready"),
        pytest.param([[replica(FAILED, number=t, died_s=t)] for t in (1, 2, 3)], True, id="three loads that failed"),
        pytest.param([[replica(LOADING, died_s=4)]] * 9, False, id="one death, seen nine times"),
        pytest.param(
            [[replica(LOADING, number=n, died_s=4) for n in range(9)]], False, id="nine at once: one accident"
        ),
        pytest.param([[replica(LOADING, died_s=t, version="v2")] for t in (1, 2, 3, 4)], False, id="another version"),
        pytest.param(
            [look for t in range(1, 6) for look in ([replica(READY)], [replica(LOADING, died_s=t)])],
            False,
            id="five kills of a replica that was ready",
        ),
        pytest.param(
            [look for t in range(1, 7) for look in ([replica(READY)], [replica(LOADING, died_s=t)])],
            True,
            id="six within a minute",
        ),
    ],
)
def test_what_is_a_crash_loop(looks: list[list[ReplicaObserved]], parked: bool) -> None:
    parking = Parking()
    for second, seen in enumerate(looks):
        parking.absorb(RECORD, seen, now_s=float(second))
    now_s = float(len(looks))
    assert ("a" in parking.refusals(now_s)) is parked
    assert (parking.failure("a", now_s) is not None) is parked


def test_lack_of_memory_is_remembered_as_a_need() -> None:
    parking = Parking()
    heavy = replace(replica(READY), memory_bytes=100 * MIB)
    parking.absorb(RECORD, [heavy], now_s=1.0)
    parking.absorb(RECORD, [replica(LOADING, died_s=2.0, why="out of memory")], now_s=2.0)
    assert parking.memory_floors_bytes().get("a", 0) == 150 * MIB
    assert parking.last_exit("a") == "out of memory"
    parking.forgive("a")
    assert parking.memory_floors_bytes().get("a", 0) == 0


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
