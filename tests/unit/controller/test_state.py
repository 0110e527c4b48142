"""The state in SQLite, in memory here."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sizewise.controller.records import ModelRecord, VersionRecord
from sizewise.controller.spec import ModelSpec
from sizewise.controller.state import KEEP_DECISIONS, TRIM_EVERY, DecisionRecord, StateStore
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


async def test_decisions_of_each_model_are_bounded_and_the_newest_come_first(state: StateStore) -> None:
    """The models take turns, so that no count of all writes falls on the same one always."""
    await state.add_decisions([decision("other", 1)])
    await state.add_decisions([decision(model, n) for n in range(KEEP_DECISIONS) for model in "ab"])
    written = KEEP_DECISIONS + 2 * TRIM_EVERY
    for n in range(KEEP_DECISIONS, written):
        await state.add_decisions([decision("a", n)])
        await state.add_decisions([decision("b", n)])
    for model in "ab":
        kept = await state.decisions(model, 10_000)
        assert KEEP_DECISIONS <= len(kept) < KEEP_DECISIONS + TRIM_EVERY
        assert [d.desired for d in kept] == [written - 1 - n for n in range(len(kept))]
    assert await state.decisions("other", 5) == [decision("other", 1)]


async def test_old_decisions_go_after_a_start_too(tmp_path: Path) -> None:
    for start in range(3):
        state = StateStore(tmp_path / "state.db")
        await state.add_decisions([decision("a", n) for n in range(KEEP_DECISIONS if start == 0 else TRIM_EVERY // 2)])
        kept = await state.decisions("a", 10_000)
        state.close()
        assert len(kept) == KEEP_DECISIONS, "none was trimmed since the start, so the first one trims"


async def test_notes_are_replaced(state: StateStore) -> None:
    assert await state.note("k") is None
    await state.put_notes({"k": {"a": [1, None]}, "l": 2})
    await state.put_notes({"k": {"a": 3}})
    assert (await state.note("k"), await state.note("l")) == ({"a": 3}, 2)
