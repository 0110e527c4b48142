"""Outputs of a model to bodies of answers.

Parts are bytes or views of the model's own arrays, to be written one after the other: raw tensors are not copied.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip.arrays import DATATYPES, DTYPES, Array, cast
from sizewise.protocols.oip.errors import RequestError
from sizewise.protocols.oip.request import InferRequest, Signature
from sizewise.protocols.oip.values import BINARY_ONLY, LENGTH_BYTES, MAX_HEADS

UNREPRESENTABLE = 422
"""Status where an answer exists that the form asked for cannot carry."""

Part = bytes | memoryview

WHOLE = slice(None)
"""All of every output: for a request that was computed alone."""


class Answer(NamedTuple):
    parts: Sequence[Part]
    encoding: Encoding
    json_bytes: int = 0


class Kind(NamedTuple):
    """What outputs of one name, datatype and trailing dimensions share over all calls."""

    datatype: str
    heads: dict[int, bytes]
    """By number of rows."""


class Output:
    """One output of one call, cut into the rows of each request."""

    __slots__ = ("_heads", "_texts", "array", "datatype", "name")

    def __init__(self, name: str, array: Array, kind: Kind) -> None:
        self.name = name
        self.datatype, self._heads = kind
        self.array = array if array.flags.c_contiguous else np.ascontiguousarray(array)
        if self.datatype != "BYTES" and not self.array.dtype.isnative:
            self.array = self.array.astype(DTYPES[self.datatype])
        self._texts: list[bytes] | None = None

    def head(self, rows: slice) -> bytes:
        """The JSON of this output up to its data or parameters."""
        shape = self.array.shape
        count = (shape[0] if shape else -1) if rows == WHOLE else rows.stop - rows.start
        text = self._heads.get(count)
        if text is None:
            text = b'{"name":%b,"datatype":"%b","shape":%b,' % (
                orjson.dumps(self.name),
                self.datatype.encode(),
                orjson.dumps((count, *shape[1:]) if shape else ()),
            )
            if len(self._heads) < MAX_HEADS:
                self._heads[count] = text
        return text

    def split_rows(self) -> None:
        """Write all rows in one go; a call for each row of a large batch costs more than the numbers themselves."""
        if self.datatype in BINARY_ONLY or self.datatype == "BYTES":
            return
        text = orjson.dumps(self.array.reshape(len(self.array), -1), option=orjson.OPT_SERIALIZE_NUMPY)
        if not _has_null(text):
            self._texts = text[2:-2].split(b"],[")

    def flat_json(self, rows: slice) -> bytes:
        """Elements of some rows as a flat JSON list."""
        if self._texts is not None and rows.stop - rows.start == 1:
            return b"[%b]" % self._texts[rows.start]
        if self.datatype in BINARY_ONLY:
            raise self._no_json(f"{self.datatype} has no JSON form")
        return self._dumps(self._rows(rows).reshape(-1))

    def nested_json(self, rows: slice) -> bytes:
        array = self._rows(rows)
        return self._dumps(cast(array, "BF16", "FP32") if self.datatype == "BF16" else array)

    def raw(self, rows: slice) -> Part:
        array = self._rows(rows).reshape(-1)
        if self.datatype != "BYTES":
            return array.view(np.uint8).data if array.size else b""
        elements = [_as_bytes(value) for value in array.tolist()]
        return b"".join(len(value).to_bytes(LENGTH_BYTES, "little") + value for value in elements)

    def _rows(self, rows: slice) -> Array:
        return self.array if rows == WHOLE else self.array[rows]

    def _dumps(self, rows: Array) -> bytes:
        if self.datatype == "BYTES":
            return orjson.dumps(self._as_text(rows.tolist()))
        # An array without dimensions is a number, which orjson knows by another type
        text = orjson.dumps(rows if rows.ndim else rows[()], option=orjson.OPT_SERIALIZE_NUMPY)
        if _has_null(text):
            raise self._no_json("NaN or infinity has no JSON form")
        return text

    def _as_text(self, value: object) -> object:
        if isinstance(value, list):
            return [self._as_text(element) for element in value]
        try:
            return value.decode() if isinstance(value, bytes) else str(value)
        except UnicodeDecodeError as error:
            raise self._no_json("an element is not UTF-8") from error

    def _no_json(self, why: str) -> RequestError:
        advice = 'ask for it in v2 with "parameters": {"binary_data": true}'
        return RequestError(f"output {self.name!r}: {why}, {advice}", UNREPRESENTABLE)


def _has_null(text: bytes) -> bool:
    """NaN and infinity become null; nothing else in an array of numbers or truth values has its first letter."""
    return b"n" in text


def datatype_of(name: str, array: Array, signature: Signature) -> str:
    """Raises RequestError with status 500 for an array that the protocol has no word for."""
    if array.dtype == np.uint16 and any(s.name == name and s.datatype == "BF16" for s in signature.outputs):
        return "BF16"
    datatype = "BYTES" if array.dtype.kind in "OSU" else DATATYPES.get(array.dtype.newbyteorder("<"))
    if datatype is None:
        raise RequestError(f"output {name!r} has dtype {array.dtype}, which the protocol cannot carry", 500)
    return datatype


def _as_bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


class Encoder:
    """Writes the answers of one model."""

    def __init__(self, model: str, version: str, signature: Signature) -> None:
        self._signature = signature
        self._kinds: dict[tuple[str, np.dtype[Any], int, tuple[int, ...]], Kind] = {}
        self._prefix = b'{"model_name":%b,"model_version":%b' % (orjson.dumps(model), orjson.dumps(version))

    def outputs(self, arrays: Mapping[str, Array]) -> list[Output]:
        """What one call gave, ready to be cut into answers."""
        return [Output(name, array, self._kind(name, array)) for name, array in arrays.items()]

    def _kind(self, name: str, array: Array) -> Kind:
        key = (name, array.dtype, array.ndim, array.shape[1:])
        kind = self._kinds.get(key)
        if kind is None:
            kind = Kind(datatype_of(name, array, self._signature), {})
            if len(self._kinds) < MAX_HEADS:
                self._kinds[key] = kind
        return kind

    def answer(self, request: InferRequest, outputs: Sequence[Output], rows: slice) -> Answer:
        """Raises RequestError when the form asked for cannot carry the values."""
        if request.reply == Encoding.V1_JSON:
            return Answer((_v1(request, outputs, rows),), Encoding.V1_JSON)
        parts = [self._prefix, b',"outputs":[']
        if request.id is not None:
            parts.insert(1, b',"id":' + orjson.dumps(request.id))
        raws: list[Part] = []
        comma = b""
        for output in outputs:
            head = comma + output.head(rows)
            if request.binary is False or (request.binary is not True and output.name not in request.binary):
                parts += (head, b'"data":', output.flat_json(rows), b"}")
            else:
                raw = output.raw(rows)
                parts += (head, b'"parameters":{"binary_data_size":%d}}' % len(raw))
                raws.append(raw)
            comma = b","
        parts.append(b"]}")
        text = b"".join(parts)
        if request.binary is False:
            return Answer((text,), Encoding.V2_JSON)
        return Answer((text, *raws), Encoding.V2_BINARY, len(text))


def _v1(request: InferRequest, outputs: Sequence[Output], rows: slice) -> bytes:
    """``predictions`` by rows, or ``outputs`` by columns; a single output stands without its name."""
    key = b"outputs" if request.columns else b"predictions"
    if len(outputs) == 1:
        return b'{"%b":%b}' % (key, outputs[0].nested_json(rows))
    by_row = all(output.array.ndim and len(output.array) == request.rows for output in outputs)
    if request.columns or (rows == WHOLE and not by_row):
        columns = [b"%b:%b" % (orjson.dumps(o.name), o.nested_json(rows)) for o in outputs]
        return b'{"%b":{%b}}' % (key, b",".join(columns))
    lines = []
    for row in range(*rows.indices(len(outputs[0].array))):
        # A slice of one row is a list of one element, of which the brackets go
        fields = [b"%b:%b" % (orjson.dumps(o.name), o.nested_json(slice(row, row + 1))[1:-1]) for o in outputs]
        lines.append(b"{%b}" % b",".join(fields))
    return b'{"predictions":[%b]}' % b",".join(lines)
