"""The state in SQLite, in memory here."""

from collections.abc import AsyncIterator

import pytest

from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.controller.spec import ModelSpec
from sizewise.controller.state import KEEP_DECISIONS, DecisionRecord, StateStore
from sizewise.core.fleet import Refused, ScalingPolicy
from sizewise.core.profiles import ModelFacts
from sizewise.core.reasons import because
from sizewise.core.slo import Slo
from sizewise.core.tensors import TensorSpec
from sizewise.protocols.backend import CommandSpec

FACTS = ModelFacts(
    format="onnx",
    platform="onnx_onnxv1",
    runtime="onnx",
    disk_bytes=7,
    weight_bytes=(("FP32", 4),),
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 3)),),
)


def record(name: str, *, command: bool = False) -> ModelRecord:
    argv = CommandSpec(argv=("sh", "-c", "id"), env=(("A", "b"),)) if command else None
    wants = ModelSpec(name=name, command=argv, slo=Slo(0.9, 0.1), scaling=ScalingPolicy(priority=3))
    version = VersionRecord(hash="a" * 64, version="aaa", uri="u", facts=FACTS, command=argv)
    return ModelRecord(wants=wants, origin="spec", serving=version, pinned=2)


def decision(model: str, number: int) -> DecisionRecord:
    return DecisionRecord(
        model=model,
        at_unix_s=float(number),
        version="aaa",
        desired=number,
        wanted=number,
        ready=0,
        loading=0,
        reason=because("min", replicas=number),
        inputs={"idle_s": None},
        refused=(Refused(desired=1, reason=because("x", text="why")),),
    )


@pytest.fixture
async def state() -> AsyncIterator[StateStore]:
    made = StateStore(None)
    yield made
    made.close()


async def test_models_come_back_as_they_were(state: StateStore) -> None:
    for known in (record("b"), record("a", command=True)):
        await state.put_model(known)
    assert await state.models() == {"a": record("a", command=True), "b": record("b")}
    await state.delete_model("a")
    assert list(await state.models()) == ["b"]


async def test_decisions_are_bounded_and_the_newest_come_first(state: StateStore) -> None:
    await state.add_decisions([decision("other", 1)])
    for begin in range(0, KEEP_DECISIONS + 500, 50):
        await state.add_decisions([decision("a", begin + n) for n in range(50)])
    kept = await state.decisions("a", 10_000)
    assert KEEP_DECISIONS <= len(kept) <= KEEP_DECISIONS + 64
    assert [d.desired for d in kept[:3]] == [1499, 1498, 1497]
    assert await state.decisions("other", 5) == [decision("other", 1)]


async def test_notes_are_replaced(state: StateStore) -> None:
    assert await state.note("k") is None
    await state.put_notes({"k": {"a": [1, None]}, "l": 2})
    await state.put_notes({"k": {"a": 3}})
    assert (await state.note("k"), await state.note("l")) == ({"a": 3}, 2)
