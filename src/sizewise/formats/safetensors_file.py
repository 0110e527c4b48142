"""safetensors: eight bytes of length, a JSON header, and the tensors.

Source: https://github.com/huggingface/safetensors, README, "Format".
"""

import json
import struct
from collections.abc import Mapping

from sizewise.formats import dtypes
from sizewise.formats.confine import Source
from sizewise.formats.found import FormatError, Found, Weights, as_count, as_list, as_mapping, element_count, shown

HEADER_MAX_BYTES = 100_000_000
NOTE = "holds tensors and no program: export it to ONNX or torch.export, or bring a server for it (command)"


def looks_like_safetensors(source: Source) -> bool:
    if source.size < 10:
        return False
    (length,) = struct.unpack("<Q", source.read(0, 8))
    return 2 <= length <= min(HEADER_MAX_BYTES, source.size - 8) and source.read(8, 1) == b"{"


def read_safetensors(source: Source) -> Found:
    weights = tensor_weights(source)
    return Found(
        format="safetensors",
        platform="safetensors",
        runtime=None,
        parameters=weights.parameters,
        weight_bytes=weights.by_datatype(),
        notes=(NOTE,),
    )


def tensor_weights(source: Source) -> Weights:
    """Weights by datatype. Raises FormatError unless the tensors fill the file without gap or overlap."""
    if source.size < 8:
        raise FormatError("is cut off: too short for a safetensors header")
    (length,) = struct.unpack("<Q", source.read(0, 8))
    if length > min(HEADER_MAX_BYTES, source.size - 8):
        raise FormatError(f"declares a header of {length} bytes in a file of {source.size}", "copy it again, whole")
    header = _header(source.read(8, length))
    weights = Weights()
    spans = []
    for name, value in header.items():
        if name != "__metadata__":
            spans.append(_tensor(name, as_mapping(value, f"tensor {shown(name)}"), weights))
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise FormatError(f"has tensors that overlap or leave a gap at byte {start}")
        end = stop
    if 8 + length + end != source.size:
        raise FormatError(f"has {source.size - 8 - length} bytes of tensors and declares {end}", "copy it again, whole")
    return weights


def _header(text: bytes) -> Mapping[str, object]:
    try:
        return as_mapping(json.loads(text, object_pairs_hook=_unique), "the header")
    except (ValueError, RecursionError) as error:
        raise FormatError("has a damaged header") from error


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FormatError("has two tensors of one name")
    return found


def _tensor(name: str, entry: Mapping[str, object], weights: Weights) -> tuple[int, int]:
    datatype = dtypes.SAFETENSORS.get(str(entry.get("dtype")))
    if datatype is None:
        raise FormatError(f"has a tensor {shown(name)} of unknown datatype {shown(entry.get('dtype'))}")
    shape = tuple(as_count(each, "a dimension") for each in as_list(entry.get("shape"), "the shape of a tensor"))
    elements = element_count(shape)
    offsets = as_list(entry.get("data_offsets"), "the offsets of a tensor")
    start, stop = (as_count(each, "an offset", most=2**62) for each in (*offsets, None, None)[:2])
    need = dtypes.packed_bytes(datatype, elements)
    if len(offsets) != 2 or stop - start != need:
        raise FormatError(f"has a tensor {shown(name)} that needs {need} bytes and declares {stop - start}")
    weights.add(datatype, elements, need)
    return start, stop
