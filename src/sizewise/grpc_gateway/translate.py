"""Inference requests as binary v2 bodies, answers the other way: raw tensors pass as the bytes they are."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import orjson

from sizewise.grpc_gateway.messages import Message, ModelInferResponse

_FIELDS = {
    "BOOL": ("bool_contents", "?"),
    "INT8": ("int_contents", "b"),
    "INT16": ("int_contents", "h"),
    "INT32": ("int_contents", "i"),
    "INT64": ("int64_contents", "q"),
    "UINT8": ("uint_contents", "B"),
    "UINT16": ("uint_contents", "H"),
    "UINT32": ("uint_contents", "I"),
    "UINT64": ("uint64_contents", "Q"),
    "FP32": ("fp32_contents", "f"),
    "FP64": ("fp64_contents", "d"),
    "BYTES": ("bytes_contents", ""),
}


BAD_ANSWER = (ValueError, KeyError, TypeError, AttributeError)
"""What `answer_of` raises for a body that is no answer."""


class BadRequestError(Exception):
    """One line for the client."""


def body_of(request: Message) -> tuple[bytes, list[bytes]]:
    """The JSON part of a binary v2 body, and the raw tensors behind it. Raises BadRequestError."""
    raw: list[bytes] = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise BadRequestError(f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs: send one for each")
    if raw and any(entry.HasField("contents") for entry in request.inputs):
        raise BadRequestError("contents and raw_input_contents come together: send all tensors in one form")
    parts = raw or [_typed(entry) for entry in request.inputs]
    inputs = [
        {
            "name": entry.name,
            "datatype": entry.datatype,
            "shape": list(entry.shape),
            "parameters": {**_parameters(entry.parameters), "binary_data_size": len(part)},
        }
        for entry, part in zip(request.inputs, parts, strict=True)
    ]
    document: dict[str, Any] = {"inputs": inputs}
    if request.id:
        document["id"] = request.id
    if request.outputs:
        document["outputs"] = [
            {"name": entry.name, "parameters": {**_parameters(entry.parameters), "binary_data": True}}
            for entry in request.outputs
        ]
    document["parameters"] = {**_parameters(request.parameters), "binary_data_output": True}
    try:
        return orjson.dumps(document), parts
    except orjson.JSONEncodeError as error:
        raise BadRequestError(f"the request has no JSON form: {error}") from error


def _typed(entry: Message) -> bytes:
    """Elements as the raw form has them; struct refuses what the datatype cannot hold."""
    field, code = _FIELDS.get(entry.datatype, ("", ""))
    if not field:
        known = "send it in raw_input_contents" if entry.datatype in {"FP16", "BF16"} else "there is no such datatype"
        raise BadRequestError(f"input {entry.name[:80]!r} of {entry.datatype[:20]!r} has no typed contents: {known}")
    given = [descriptor.name for descriptor, _ in entry.contents.ListFields()]
    if given and given != [field]:
        raise BadRequestError(f"input {entry.name[:80]!r} is {entry.datatype}: its contents belong into {field}")
    values: Sequence[Any] = getattr(entry.contents, field)
    if field == "bytes_contents":
        return b"".join(part for value in values for part in (len(value).to_bytes(4, "little"), value))
    try:
        return struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, OverflowError) as error:
        raise BadRequestError(f"input {entry.name[:80]!r}: an element does not fit {entry.datatype}") from error


def _parameters(given: Any) -> dict[str, Any]:
    found = {}
    for name, value in given.items():
        kind = value.WhichOneof("parameter_choice")
        if kind is not None:
            found[name] = getattr(value, kind)
    return found


def answer_of(body: bytes, json_bytes: int) -> Message:
    """A binary v2 answer as a message. Raises one of BAD_ANSWER for what is none."""
    document = orjson.loads(memoryview(body)[: json_bytes or len(body)])
    answer = ModelInferResponse(
        model_name=document.get("model_name", ""),
        model_version=document.get("model_version", ""),
        id=document.get("id") or "",
    )
    _set_parameters(answer.parameters, document.get("parameters") or {})
    at = json_bytes
    for output in document["outputs"]:
        parameters = dict(output.get("parameters") or {})
        size = parameters.pop("binary_data_size")
        made = answer.outputs.add(name=output["name"], datatype=output["datatype"])
        made.shape.extend(output["shape"])
        _set_parameters(made.parameters, parameters)
        answer.raw_output_contents.append(body[at : at + size])
        at += size
    if at != len(body):
        raise ValueError(f"{len(body) - at} bytes are left behind the last tensor")
    return answer


def _set_parameters(target: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, bool):
            target[name].bool_param = value
        elif isinstance(value, int):
            target[name].int64_param = value
        elif isinstance(value, float):
            target[name].double_param = value
        else:
            target[name].string_param = str(value)
