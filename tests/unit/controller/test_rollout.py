"""When a new version takes over, and when it is given up."""

from dataclasses import replace

import pytest

from sizewise.controller.records import ModelRecord, RolloutState, VersionRecord
from sizewise.controller.rollout import advance
from sizewise.controller.spec import ModelSpec
from sizewise.core.fleet import ReplicaState
from sizewise.core.profiles import ModelFacts
from sizewise.protocols.backend import ReplicaObserved

NOW_S = 100.0
FACTS = ModelFacts(format="onnx", platform="onnx_onnxv1", runtime="onnx", disk_bytes=1)
OLD, NEW = (VersionRecord(hash=v * 32, version=v, uri="", facts=FACTS) for v in ("v1", "v2"))
RECORD = ModelRecord(wants=ModelSpec(name="a", uri="a.onnx"), origin="deploy", serving=OLD, candidate=NEW)
LOADING, READY, FAILED = ReplicaState.LOADING, ReplicaState.READY, ReplicaState.FAILED


def replica(version: str, state: ReplicaState, since_s: float = NOW_S, restarts: int = 0) -> ReplicaObserved:
    return ReplicaObserved(
        replica_id="r",
        model="a",
        version=version,
        state=state,
        pid=1,
        since_s=since_s,
        started_at_s=since_s,
        restarts=restarts,
        last_exit="exit 1: why" if restarts or state is FAILED else None,
    )


SERVING = replica("v1", READY)


@pytest.mark.parametrize(
    ("replicas", "outcome"),
    [
        pytest.param([], None, id="nothing yet"),
        pytest.param([SERVING, replica("v2", LOADING)], None, id="loading"),
        pytest.param([SERVING, replica("v2", READY)], RolloutState.SWITCHED, id="one for one"),
        pytest.param([replica("v2", READY)], RolloutState.SWITCHED, id="nothing served before"),
        pytest.param([SERVING, SERVING, replica("v2", READY)], None, id="one for two: more may come"),
        pytest.param(
            [SERVING, SERVING, replica("v2", READY, NOW_S - 3)], RolloutState.SWITCHED, id="one for two: no more came"
        ),
        pytest.param(
            [SERVING, SERVING, replica("v2", READY, NOW_S - 9), replica("v2", LOADING)], None, id="another is coming"
        ),
        pytest.param([SERVING, replica("v2", FAILED)], RolloutState.FAILED, id="does not load"),
        pytest.param([SERVING, replica("v2", LOADING, restarts=1)], None, id="died once: somebody's kill"),
        pytest.param([SERVING, replica("v2", LOADING, restarts=2)], RolloutState.FAILED, id="died twice"),
        pytest.param([SERVING, replica("v2", READY), replica("v2", FAILED)], RolloutState.FAILED, id="one of two"),
    ],
)
def test_advance(replicas: list[ReplicaObserved], outcome: RolloutState | None) -> None:
    after = advance(RECORD, replicas, now_s=NOW_S, unix_s=1.0)
    if outcome is None:
        assert after is RECORD
        return
    assert after.candidate is None
    assert after.rollout is not None
    assert (after.rollout.state, after.rollout.version) == (outcome, "v2")
    assert after.serving == (NEW if outcome is RolloutState.SWITCHED else OLD)
    assert after.rollout.detail == ("exit 1: why" if outcome is RolloutState.FAILED else "")


def test_without_a_candidate_nothing_happens() -> None:
    settled = replace(RECORD, candidate=None)
    assert advance(settled, [SERVING], now_s=NOW_S, unix_s=1.0) is settled
