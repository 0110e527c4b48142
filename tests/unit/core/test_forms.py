"""Which load-ready form is worth making, and what goes when the disk is short."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.forms import (
    FORM_FROM_BYTES,
    MAPPED,
    ONNX,
    PACKED,
    TENSORS,
    Form,
    Wish,
    as_opened,
    faster,
    form_key,
    second_pays,
    steady,
    victims,
    wanted,
)
from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, Memory, ModelFacts, ModelProfile, Source, Stage
from sizewise.core.units import GIB, KIB, MIB


def curve(*p50_s: float) -> LatencyCurve:
    """At batches 1, 2, 4 ..."""
    return LatencyCurve(tuple(BatchPoint(batch=1 << i, p50_s=s, p95_s=s) for i, s in enumerate(p50_s)))


def stage(name: str, *p50_s: float) -> Stage:
    return Stage(name=name, open_s=0.01, curve=curve(*p50_s))


def profile(
    weights_bytes: int = GIB, *, runtime: str = "onnx", platform: str = "p", stages: tuple[Stage, ...] = ()
) -> ModelProfile:
    facts = ModelFacts(format="onnx", platform=platform, runtime=runtime, disk_bytes=weights_bytes)
    return ModelProfile(
        facts=facts, load=LoadTime(), memory=Memory(), curve=curve(1.0), source=Source.MEASURED, stages=stages
    )


EQUAL = (stage(MAPPED, 1.0, 1.5), stage(PACKED, 1.0, 1.5))
SLOWER_ALONE = (stage(MAPPED, 1.0, 3.0), stage(PACKED, 1.0, 1.5))


@pytest.mark.parametrize(
    ("weighed", "room_bytes", "wish"),
    [
        pytest.param(profile(FORM_FROM_BYTES - 1), 10 * GIB, None, id="small: loads in milliseconds as it is"),
        pytest.param(profile(runtime="xgboost"), 10 * GIB, None, id="another format"),
        pytest.param(profile(MIB, runtime="sklearn"), GIB, Wish(name=ONNX, disk_bytes=4 * MIB + 64 * KIB), id="tables"),
        pytest.param(profile(MIB, runtime="sklearn"), 4 * MIB, None, id="tables: no room"),
        pytest.param(profile(runtime="sklearn"), 10 * GIB, None, id="tables: too large to convert"),
        pytest.param(
            profile(runtime="torch", platform="pytorch_export"),
            GIB,
            Wish(name=TENSORS, disk_bytes=GIB),
            id="a program: its weights mapped",
        ),
        pytest.param(profile(runtime="torch", platform="pytorch_export"), GIB - 1, None, id="a program: no room"),
        pytest.param(profile(runtime="torch", platform="pytorch_torchscript"), 9 * GIB, None, id="TorchScript"),
        pytest.param(profile(), 2 * GIB, Wish(name=PACKED, disk_bytes=2 * GIB), id="not measured: both stages"),
        pytest.param(profile(), 2 * GIB - 1, Wish(name=MAPPED, disk_bytes=GIB), id="no room for two: one stage"),
        pytest.param(profile(), GIB - 1, None, id="no room at all"),
        pytest.param(profile(stages=EQUAL), 9 * GIB, Wish(name=MAPPED, disk_bytes=GIB), id="the second does not pay"),
        pytest.param(profile(stages=SLOWER_ALONE), 9 * GIB, Wish(name=PACKED, disk_bytes=2 * GIB), id="it pays"),
    ],
)
def test_wanted(weighed: ModelProfile, room_bytes: int, wish: Wish | None) -> None:
    assert wanted(weighed.facts, weighed, room_bytes=room_bytes) == wish


def test_a_form_of_another_runtime_is_weighed_as_what_runs() -> None:
    facts = ModelFacts(
        format="skops", platform="p", runtime="sklearn", disk_bytes=9 * MIB, weight_bytes=(("FP64", 5 * MIB),)
    )
    form = Form(name=ONNX, key="k", runtime="onnx", path="/f", entry="e", disk_bytes=2 * MIB, files=("e",))
    opened = as_opened(facts, form)
    assert (opened.runtime, opened.entry, opened.files, opened.weights_bytes) == ("onnx", "e", ("e",), 2 * MIB)
    assert (opened.format, opened.platform, opened.inputs) == (facts.format, facts.platform, facts.inputs)
    assert as_opened(facts, None) is facts


def test_a_form_of_the_same_runtime_has_the_same_weights() -> None:
    facts = ModelFacts(
        format="onnx", platform="p", runtime="onnx", disk_bytes=GIB, weight_bytes=(("FP32", GIB),), entry="m"
    )
    form = Form(name=PACKED, key="k", runtime="onnx", path="/f", entry="e", disk_bytes=2 * GIB, files=("e", "w"))
    opened = as_opened(facts, form)
    assert (opened.weights_bytes, opened.disk_bytes, opened.entry) == (GIB, 2 * GIB, "m")


@pytest.mark.parametrize(
    ("stages", "pays"),
    [
        pytest.param((), None, id="not measured"),
        pytest.param(EQUAL[:1], None, id="one of them measured"),
        pytest.param(EQUAL, False, id="no faster"),
        pytest.param((stage(MAPPED, 1.04), stage(PACKED, 1.0)), False, id="within the noise"),
        pytest.param(SLOWER_ALONE, True, id="faster at the larger batch"),
    ],
)
def test_second_pays(stages: tuple[Stage, ...], pays: bool | None) -> None:
    assert second_pays(profile(stages=stages)) is pays


def test_only_batches_that_both_were_measured_at_count() -> None:
    assert not faster(curve(1.0), than=curve(1.0, 9.0, 9.0))


def test_the_steady_stage_is_the_last_that_pays() -> None:
    assert steady(EQUAL).name == MAPPED
    assert steady(SLOWER_ALONE).name == PACKED
    assert steady(EQUAL[:1]).name == MAPPED


def test_keys_tell_versions_and_processors_apart_and_not_the_order() -> None:
    key = form_key("packed", versions=[("a", "1"), ("b", "2")], cpu="avx2")
    assert key == form_key("packed", versions=[("b", "2"), ("a", "1")], cpu="avx2")
    others = {
        form_key("mapped", versions=[("a", "1"), ("b", "2")], cpu="avx2"),
        form_key("packed", versions=[("a", "1"), ("b", "3")], cpu="avx2"),
        form_key("packed", versions=[("a", "1"), ("b", "2")], cpu="avx2 avx512f"),
    }
    assert len(others | {key}) == 4
    assert key.startswith("packed-")


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 10 * MIB)), st.integers(-MIB, 30 * MIB))
def test_victims_are_enough_and_none_is_one_too_many(sizes: dict[str, int], need_bytes: int) -> None:
    gone = victims(sizes, need_bytes)
    if need_bytes > sum(sizes.values()) or need_bytes <= 0:
        assert gone == ()
    else:
        freed = [sizes[name] for name in gone]
        assert sum(freed) >= need_bytes > sum(freed[:-1])
