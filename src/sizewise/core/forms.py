"""Load-ready forms of a model: which one is worth making, whether its second stage pays, what goes when room is short.

A form is made from an artifact and can be made again at any time, so nothing is lost with one.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sizewise.core.profiles import LatencyCurve, ModelFacts, ModelProfile, Stage
from sizewise.core.units import KIB, MIB

MAPPED = "mapped"
"""ONNX: optimized ahead, its weights in a file that is mapped. One stage: weights as they are, not pre-packed."""
PACKED = "packed"
"""The same, and beside each weight its pre-packed copy: a second stage opens on those."""

ONNX = "onnx"
"""scikit-learn: the same model as an ONNX file, run without scikit-learn and the 100 MB that come with it."""

TENSORS = "tensors"
"""PyTorch: a torch.export program without its weights, and those in a safetensors file that is mapped."""
MAPPABLE = "pytorch_export"
"""Platform of the PyTorch programs whose weights can be told from their code."""

FORM_FROM_BYTES = 16 * MIB
"""Models with less weight load within about ten milliseconds as they are."""
PACKED_PER_BYTE = 2.0
"""Bytes on disk of a packed form for each byte of weights: the weights and their copy. Convolutions have less, because
their weights are laid out anew by the optimizer and not packed."""
ONNX_PER_BYTE = 4.0
"""Bytes of an ONNX file for each byte of a scikit-learn model's weights: 0.6 for forests, 4 for small estimators."""
ONNX_FLOOR_BYTES = 64 * KIB
"""A file of a few weights is mostly their names."""
ONNX_TO_BYTES = 64 * MIB
"""Converting takes about a second for each MB of trees, and their ten-fold in memory: larger ones stay as they are."""
LEAST_GAIN = 1.05
"""A second stage that is not this much faster at any batch in use is not worth opening: that is within the noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One form of one artifact as it lies on disk."""

    name: str
    key: str
    """Names the form, the runtime's version and the processor it was made for: ``form_key``."""
    runtime: str
    """Which runtime opens it."""
    path: str
    """Its folder."""
    entry: str
    """File in it that the runtime opens."""
    disk_bytes: int
    files: tuple[str, ...] = ()
    """All that are read to open it, relative to its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A form that is worth its place. ``disk_bytes`` is what it will take, at most."""

    name: str
    disk_bytes: int


def form_key(name: str, *, versions: Iterable[tuple[str, str]], cpu: str) -> str:
    """``NAME-`` and 16 hexadecimal digits over versions of packages and what the processor can do.

    >>> form_key("packed", versions=[("onnxruntime", "1.31.1")], cpu="avx2 fma")
    'packed-37355ad335bffab6'
    """
    lines = [f"{package}={version}" for package, version in sorted(versions)]
    digest = hashlib.sha256("\n".join([name, *lines, cpu]).encode()).hexdigest()
    return f"{name}-{digest[:16]}"


def wanted(facts: ModelFacts, profile: ModelProfile, *, room_bytes: int) -> Wish | None:
    """The form of a model that is worth making, or keeping, within ``room_bytes`` of disk.

    With two stages unless they were measured and the second does not pay; with one where the disk has no room for
    both. Small ones load in no time as they are; of scikit-learn also those gain, by the process that they need.
    """
    if facts.runtime == "sklearn":
        wish = Wish(name=ONNX, disk_bytes=ONNX_FLOOR_BYTES + round(ONNX_PER_BYTE * facts.weights_bytes))
        return wish if facts.weights_bytes <= ONNX_TO_BYTES and wish.disk_bytes <= room_bytes else None
    if facts.weights_bytes < FORM_FROM_BYTES:
        return None
    if facts.platform == MAPPABLE:
        wish = Wish(name=TENSORS, disk_bytes=facts.weights_bytes)
        return wish if wish.disk_bytes <= room_bytes else None
    if facts.runtime != "onnx":
        return None
    room = (
        Wish(name=PACKED, disk_bytes=round(PACKED_PER_BYTE * facts.weights_bytes)),
        Wish(name=MAPPED, disk_bytes=facts.weights_bytes),
    )
    choices = room if second_pays(profile) is not False else room[1:]
    return next((wish for wish in choices if wish.disk_bytes <= room_bytes), None)


def as_opened(facts: ModelFacts, form: Form | None) -> ModelFacts:
    """What the next load reads and what runs it, where ``form`` stands in for the model's own files.

    Decisions weigh a model as what it runs; clients go on seeing what was deployed.
    """
    if form is None:
        return facts
    if form.runtime == facts.runtime:
        return replace(facts, disk_bytes=form.disk_bytes)  # the same weights, and perhaps their packed copies
    return replace(
        facts,
        runtime=form.runtime,
        entry=form.entry,
        files=form.files,
        disk_bytes=form.disk_bytes,
        weight_bytes=(),
        external_bytes=0,
    )


def second_pays(profile: ModelProfile) -> bool | None:
    """Whether the second stage is faster at a batch up to the largest measured with both; None while not measured."""
    stages = {stage.name: stage for stage in profile.stages}
    if MAPPED not in stages or PACKED not in stages:
        return None
    return faster(stages[PACKED].curve, stages[MAPPED].curve)


def faster(curve: LatencyCurve, than: LatencyCurve) -> bool:
    """At any batch that both were measured at, by more than the noise."""
    both = {point.batch for point in curve.points} & {point.batch for point in than.points}
    return any(than.p50_s(batch) > LEAST_GAIN * curve.p50_s(batch) for batch in both)


def steady(stages: tuple[Stage, ...]) -> Stage:
    """What a replica runs for most of its life: the second stage where it pays. ``stages`` in the order they open."""
    first, *later = stages
    return next((stage for stage in reversed(later) if faster(stage.curve, first.curve)), first)


def victims(sizes: Mapping[str, int], need_bytes: int) -> tuple[str, ...]:
    """Forms, by name, that go to make room of ``need_bytes``: few and large ones; none where all are not enough."""
    if need_bytes > sum(sizes.values()):
        return ()
    gone: list[str] = []
    for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        if need_bytes <= 0:
            break
        gone.append(name)
        need_bytes -= size
    return tuple(gone)
