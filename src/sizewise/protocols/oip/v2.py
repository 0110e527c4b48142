"""Open Inference Protocol v2 bodies: JSON, and JSON followed by raw tensors."""

from typing import Any

import orjson

from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip.errors import RequestError, shown
from sizewise.protocols.oip.request import InferRequest, Signature, Tensor
from sizewise.protocols.oip.values import (
    BINARY_ONLY,
    checked_head,
    from_binary,
    from_json,
    names,
)

_VALUE_TYPES = frozenset({str, int, float, bool})
NOTHING = memoryview(b"")
_NO_PARAMETERS: dict[str, Any] = {}


def parse(text: bytes | memoryview) -> dict[str, Any]:
    """A JSON object. NaN, infinity, bad UTF-8 and very deep nesting are refused by the parser."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error}") from error
    if type(document) is not dict:
        raise RequestError("the body must be a JSON object")
    return document


def decode_v2(body: bytes | memoryview, *, json_bytes: int, signature: Signature) -> InferRequest:
    """``json_bytes`` 0 means that all of the body is JSON."""
    if json_bytes > len(body):
        raise RequestError(f"the JSON part is said to have {json_bytes} bytes but the body has {len(body)}")
    if not json_bytes:
        bools = type(body) is not bytes or _may_hold_bools(body)
        return from_document(parse(body), tail=NOTHING, signature=signature, bools=bools)
    view = memoryview(body)
    return from_document(parse(view[:json_bytes]), tail=view[json_bytes:], signature=signature)


def _may_hold_bools(text: bytes) -> bool:
    """Looking for a letter first takes a fifth of the time; most requests have neither."""
    return (b"r" in text and b"true" in text) or (b"f" in text and b"false" in text)


def from_document(
    document: dict[str, Any], *, tail: memoryview, signature: Signature, bools: bool = True
) -> InferRequest:
    """Without ``bools`` no element can be true or false, which then need not be looked for."""
    request_id = document.get("id")
    if request_id is not None and type(request_id) is not str:
        raise RequestError(f"id must be a string, not {shown(request_id)}")
    parameters = _parameters("the request", document)
    outputs, binary = _outputs(document.get("outputs"), parameters, signature)
    return InferRequest(
        inputs=_inputs(document.get("inputs"), tail, signature, bools=bools),
        outputs=outputs,
        reply=Encoding.V2_JSON,
        id=request_id,
        binary=binary,
        parameters=parameters or None,
    )


def _parameters(owner: str, document: dict[str, Any]) -> dict[str, Any]:
    if "parameters" not in document:
        return _NO_PARAMETERS
    parameters = document["parameters"]
    if type(parameters) is not dict:
        raise RequestError(f"{owner}: parameters must be an object")
    for name, value in parameters.items():
        if type(value) not in _VALUE_TYPES:
            raise RequestError(f"{owner}: parameter {shown(name)} must be a string, number or boolean")
    return parameters


def _inputs(entries: Any, tail: memoryview, signature: Signature, *, bools: bool) -> list[Tensor]:
    if type(entries) is not list:
        raise RequestError("inputs must be a list of tensors")
    found: dict[str, Tensor] = {}
    used = 0
    for entry in entries:
        if type(entry) is not dict or type(entry.get("name")) is not str:
            raise RequestError("every entry of inputs must be an object with a name")
        tensor, used = _input(entry, tail=tail, used=used, signature=signature, bools=bools)
        if tensor.name in found:
            raise RequestError(f"input {shown(tensor.name)} is given twice")
        found[tensor.name] = tensor
    if used != len(tail):
        raise RequestError(f"{len(tail) - used} bytes are left after the last binary tensor")
    return in_order(found, signature)


def in_order(found: dict[str, Tensor], signature: Signature) -> list[Tensor]:
    """The model's own order. Raises RequestError for a missing input, or rows that differ between inputs."""
    if not signature.inputs:
        if not found:
            raise RequestError("inputs is empty: send at least one tensor")
        return list(found.values())
    for spec in signature.inputs:
        if spec.name not in found:
            raise RequestError(f"input {spec.name!r} is missing: this model takes {names(signature.inputs)}")
    tensors = [found[spec.name] for spec in signature.inputs]
    if signature.batchable and len(tensors) > 1 and len({tensor.shape[:1] for tensor in tensors}) > 1:
        rows = ", ".join(f"{tensor.name!r} {tensor.shape[0] if tensor.shape else '-'}" for tensor in tensors)
        raise RequestError(f"inputs differ in their number of rows: {rows}")
    return tensors


def _input(
    entry: dict[str, Any], *, tail: memoryview, used: int, signature: Signature, bools: bool
) -> tuple[Tensor, int]:
    """One tensor, and how much of the binary part is used after it."""
    name: str = entry["name"]
    datatype: Any = entry.get("datatype")
    shape, count = checked_head(name, datatype, shape=entry.get("shape"), signature=signature)
    parameters = _parameters(f"input {shown(name)}", entry) if "parameters" in entry else _NO_PARAMETERS
    if "binary_data_size" not in parameters:
        if "data" not in entry:
            raise RequestError(f"input {shown(name)} has neither data nor binary_data_size")
        if datatype in BINARY_ONLY:
            raise RequestError(f"input {shown(name)}: {datatype} has no JSON form, send it as binary data")
        return from_json(name, datatype, shape=shape, count=count, data=entry["data"], bools=bools), used
    if "data" in entry:
        raise RequestError(f"input {shown(name)} has both data and binary_data_size: send one")
    size = parameters["binary_data_size"]
    if type(size) is not int or size < 0:
        raise RequestError(f"input {shown(name)}: binary_data_size must be a whole number from 0, not {shown(size)}")
    if used + size > len(tail):
        raise RequestError(
            f"input {shown(name)}: binary_data_size is {size} but {len(tail) - used} bytes are left after the JSON "
            "part: does Inference-Header-Content-Length say where it ends?"
        )
    return from_binary(name, datatype, shape=shape, count=count, data=tail[used : used + size]), used + size


def _outputs(
    entries: Any, parameters: dict[str, Any], signature: Signature
) -> tuple[tuple[str, ...], frozenset[str] | bool]:
    """Names asked for in the sender's order, and which of them as raw bytes."""
    everything = bool(parameters) and _flag("the request", parameters, "binary_data_output")
    if not entries and (entries is None or entries == []):
        return signature.output_names, everything
    if type(entries) is not list:
        raise RequestError("outputs must be a list")
    wanted: dict[str, bool] = {}
    for entry in entries:
        if type(entry) is not dict or type(entry.get("name")) is not str:
            raise RequestError("every entry of outputs must be an object with a name")
        name = entry["name"]
        if name in wanted:
            raise RequestError(f"output {shown(name)} is asked for twice")
        if signature.outputs and name not in signature.output_names:
            raise RequestError(f"unknown output {shown(name)}: this model gives {names(signature.outputs)}")
        owner = f"output {shown(name)}"
        wanted[name] = _flag(owner, _parameters(owner, entry), "binary_data", default=everything)
    asked = tuple(wanted)
    # The same object for the same question, so that requests are grouped by comparing pointers
    asked = signature.output_names if asked == signature.output_names else asked
    return asked, frozenset(name for name, binary in wanted.items() if binary) or False


def _flag(owner: str, parameters: dict[str, Any], name: str, *, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise RequestError(f"{owner}: parameter {name!r} must be true or false, not {shown(value)}")
    return value
