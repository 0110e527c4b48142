"""Bodies for a model, made from what it says about its inputs."""

import json
import random
import struct
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from sizewise.core.tensors import DATATYPE_BYTES, TensorSpec
from sizewise.loadgen.request import Body
from sizewise.protocols.errors import UsageError
from sizewise.protocols.oip.values import BINARY_ONLY, FORMATS, LENGTH_BYTES

VARIANTS = 16
"""Bodies sent in turn, so that nothing on the way can answer from memory of one."""
VARYING = 16
"""Length of a dimension that varies, the first one excepted, such as the tokens of a text."""
_JSON = {"Content-Type": "application/json"}
_Values = list[Any]


def bodies_of(
    inputs: Sequence[TensorSpec], *, rows: int | None = None, binary: bool = False, seed: int = 7
) -> list[Body]:
    """Requests of the Open Inference Protocol with random values. Raises UsageError.

    ``rows`` is the first dimension; None: the one that the model asks for, or 1 where it varies.
    """
    if not inputs:
        raise UsageError("the model does not say what it takes: give a request with --body FILE")
    rng = random.Random(seed)  # noqa: S311 - numbers for a model, not secrets
    make = _binary if binary else _json
    return [make(inputs, rows, rng) for _ in range(VARIANTS)]


def body_from(path: Path) -> Body:
    """A file as it is; what looks like JSON is called JSON."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: --body takes a file") from error
    is_json = content.lstrip()[:1] in {b"{", b"["}
    return Body(content=content, headers=_JSON if is_json else {"Content-Type": "application/octet-stream"})


def _json(inputs: Sequence[TensorSpec], rows: int | None, rng: random.Random) -> Body:
    tensors = []
    for spec in inputs:
        if spec.datatype in BINARY_ONLY:
            raise UsageError(f"input {spec.name!r} is {spec.datatype}, which has no JSON form: add --binary")
        shape = _shape(spec, rows)
        values = _values(spec, prod(shape), rng)
        tensors.append({"name": spec.name, "datatype": spec.datatype, "shape": shape, "data": values})
    return Body(content=json.dumps({"inputs": tensors}).encode(), headers=_JSON)


def _binary(inputs: Sequence[TensorSpec], rows: int | None, rng: random.Random) -> Body:
    tensors, tail = [], b""
    for spec in inputs:
        shape = _shape(spec, rows)
        data = _packed(spec, _values(spec, prod(shape), rng))
        size = {"binary_data_size": len(data)}
        tensors.append({"name": spec.name, "datatype": spec.datatype, "shape": shape, "parameters": size})
        tail += data
    document = {"inputs": tensors, "parameters": {"binary_data_output": True}}
    head = json.dumps(document).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Body(content=head + tail, headers=headers)


def _shape(spec: TensorSpec, rows: int | None) -> list[int]:
    if not spec.shape:
        return []
    first, *others = spec.shape
    if rows is not None and first not in {-1, rows}:
        raise UsageError(f"input {spec.name!r} has {first} in its first dimension, not {rows}: use --rows {first}")
    return [rows or (first if first > 0 else 1), *(VARYING if size < 0 else size for size in others)]


def _values(spec: TensorSpec, count: int, rng: random.Random) -> _Values:
    """Small ones: integers are often tokens or categories, and any vocabulary has ten."""
    if spec.datatype == "BOOL":
        return [rng.random() < 0.5 for _ in range(count)]
    if spec.datatype == "BYTES":
        return [f"text {rng.randrange(1000)}" for _ in range(count)]
    if spec.datatype.startswith(("INT", "UINT")):
        return [rng.randrange(10) for _ in range(count)]
    if spec.datatype not in DATATYPE_BYTES:
        raise UsageError(f"input {spec.name!r} is {spec.datatype}: give a request with --body FILE")
    return [round(rng.uniform(-1, 1), 4) for _ in range(count)]


def _packed(spec: TensorSpec, values: _Values) -> bytes:
    if spec.datatype == "BOOL":
        return bytes(values)
    if spec.datatype == "BYTES":
        return b"".join(len(text).to_bytes(LENGTH_BYTES, "little") + text.encode() for text in values)
    if spec.datatype == "BF16":  # the upper half of a float
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{FORMATS[spec.datatype]}", *values)
