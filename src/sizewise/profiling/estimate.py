"""A profile from facts alone: what is believed of a model until it has been measured."""

from dataclasses import dataclass

from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, Memory, ModelFacts, ModelProfile, Source
from sizewise.profiling.constants import RUNTIMES, RuntimeConstants
from sizewise.runtimes.onnx_model import is_mapped


@dataclass(frozen=True, slots=True)
class _Size:
    weights_bytes: int
    parameters: int


def estimate(facts: ModelFacts, machine: str = "") -> ModelProfile:
    """Straight lines through what was measured on models of each runtime (``constants``), never from this model.

    One point of the curve, batch 1; larger batches follow in proportion, which is the careful side. ``machine``
    names where the estimate is to hold; the constants are from the machine they name.
    """
    known = RUNTIMES.get(facts.runtime or "", RUNTIMES["onnx"])
    size = _Size(facts.weights_bytes, _parameters(facts))
    call_s = known.call_s + size.parameters * known.call_s_per_parameter
    return ModelProfile(
        facts=facts,
        load=_load(known, size, facts, read_s_per_byte=0.0),
        load_cold=_load(known, size, facts, read_s_per_byte=known.read_s_per_byte),
        memory=_memory(known, size, mapped_bytes=_mapped_bytes(facts)),
        curve=LatencyCurve((BatchPoint(batch=1, p50_s=call_s, p95_s=call_s * known.spread),)),
        source=Source.ESTIMATED,
        machine=machine,
    )


def _parameters(facts: ModelFacts) -> int:
    """Counted where the format tells; else as if every weight took four bytes."""
    return facts.parameters if facts.parameters is not None else facts.weights_bytes // 4


def _mapped_bytes(facts: ModelFacts) -> int:
    return facts.external_bytes if facts.runtime == "onnx" and is_mapped(facts) else 0


def _load(known: RuntimeConstants, size: _Size, facts: ModelFacts, *, read_s_per_byte: float) -> LoadTime:
    """Mapped weights are read, where they must be, but neither copied nor packed."""
    copied_bytes = facts.disk_bytes - _mapped_bytes(facts)
    return LoadTime(
        start_s=known.start_s,
        load_s=known.load_s + copied_bytes * known.load_s_per_byte + facts.disk_bytes * read_s_per_byte,
        warmup_s=known.warmup_s + size.parameters * known.call_s_per_parameter,
    )


def _memory(known: RuntimeConstants, size: _Size, *, mapped_bytes: int) -> Memory:
    copied_bytes = max(0, size.weights_bytes - mapped_bytes)
    private = known.base_bytes + known.resident_bytes
    return Memory(
        base_bytes=known.base_bytes,
        resident_bytes=known.resident_bytes + round(copied_bytes * known.resident_per_byte),
        mapped_bytes=mapped_bytes,
        peak_bytes=private + round(copied_bytes * known.peak_per_byte),
    )
