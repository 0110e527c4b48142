"""A profile from facts alone: what is believed of a model until it has been measured."""

from dataclasses import dataclass

from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, Memory, ModelFacts, ModelProfile, Source
from sizewise.profiling.constants import RUNTIMES, RuntimeConstants


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
        load=_load(known, size, facts.disk_bytes, bytes_s=0.0),
        load_cold=_load(known, size, facts.disk_bytes, bytes_s=known.read_s_per_byte),
        memory=_memory(known, size),
        curve=LatencyCurve((BatchPoint(batch=1, p50_s=call_s, p95_s=call_s * known.spread),)),
        source=Source.ESTIMATED,
        machine=machine,
    )


def _parameters(facts: ModelFacts) -> int:
    """Counted where the format tells; else as if every weight took four bytes."""
    return facts.parameters if facts.parameters is not None else facts.weights_bytes // 4


def _load(known: RuntimeConstants, size: _Size, disk_bytes: int, *, bytes_s: float) -> LoadTime:
    return LoadTime(
        start_s=known.start_s,
        load_s=known.load_s + disk_bytes * (known.load_s_per_byte + bytes_s),
        warmup_s=known.warmup_s + size.parameters * known.call_s_per_parameter,
    )


def _memory(known: RuntimeConstants, size: _Size) -> Memory:
    resident = known.resident_bytes + round(size.weights_bytes * known.resident_per_byte)
    return Memory(
        base_bytes=known.base_bytes,
        resident_bytes=resident,
        peak_bytes=known.base_bytes + known.resident_bytes + round(size.weights_bytes * known.peak_per_byte),
    )
