"""Tensors of an ONNX file: what they declare must be there, in the file itself or beside it."""

from pathlib import Path

from sizewise.core.units import format_bytes
from sizewise.formats import dtypes
from sizewise.formats.confine import member_path
from sizewise.formats.found import FormatError, UnsafeError, Weights, element_count, shown
from sizewise.formats.wire import BYTES, FIXED32, FIXED64, VARINT, Field, Scanner, signed

_DIMS, _TYPE, _STRINGS, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 6, 8, 9, 13, 14
_FLOAT_DATA, _INT32_DATA, _INT64_DATA, _DOUBLE_DATA, _UINT64_DATA = 4, 5, 7, 10, 11
_FIXED = {_FLOAT_DATA: 4, _DOUBLE_DATA: 8}
_VARINTS = (_INT32_DATA, _INT64_DATA, _UINT64_DATA)


class _Tensor:
    """Fields of one TensorProto as they are met."""

    __slots__ = (
        "dims",
        "external",
        "external_entries",
        "least",
        "most",
        "name",
        "raw",
        "strings",
        "strings_bytes",
        "type",
    )

    def __init__(self) -> None:
        self.name = ""
        self.type = 0
        self.dims: list[int] = []
        self.raw: int | None = None
        self.strings = 0
        self.strings_bytes = 0
        self.least = 0
        """Values in typed fields: at least, and at most (varints are of one to ten bytes)."""
        self.most = 0
        self.external = False
        self.external_entries: dict[str, str] = {}


class TensorReader:
    """Adds tensors to ``weights`` and remembers the external files they lie in."""

    def __init__(self, scanner: Scanner, folder: Path, weights: Weights) -> None:
        self._scanner = scanner
        self._folder = folder
        self._weights = weights
        self.locations: dict[str, int] = {}
        """External files and their sizes in bytes."""

    def add(self, field: Field) -> str:
        """Check one tensor and add it; returns its name."""
        tensor = self._read(field)
        shape = tuple(tensor.dims)
        elements = element_count(shape)
        datatype = dtypes.ONNX.get(tensor.type)
        if datatype is None:
            raise FormatError(f"tensor {shown(tensor.name)} has the unknown datatype {tensor.type}")
        if datatype == "BYTES":
            if tensor.external or tensor.strings != elements:
                raise FormatError(f"tensor {shown(tensor.name)} declares {elements} texts and holds {tensor.strings}")
            self._weights.add(datatype, elements, tensor.strings_bytes)
            return tensor.name
        need = dtypes.packed_bytes(datatype, elements)
        if tensor.external:
            self._check_external(tensor, need)
        else:
            _check_inline(tensor, datatype, elements=elements, need=need)
        self._weights.add(datatype, elements, need)
        return tensor.name

    def add_sparse(self, field: Field) -> str:
        """A sparse tensor weighs its values and indices; its name is that of its values."""
        name = ""
        for part in self._scanner.fields(field.start, field.end):
            if part.number in (1, 2) and part.wire == BYTES:
                added = self.add(part)
                name = added if part.number == 1 else name
        return name

    def _read(self, field: Field) -> _Tensor:
        tensor = _Tensor()
        for part in self._scanner.fields(field.start, field.end):
            self._take(tensor, part)
        return tensor

    def _take(self, tensor: _Tensor, part: Field) -> None:
        size = part.end - part.start
        if part.number == _DIMS:
            tensor.dims += [signed(value) for value in self._scanner.varints(part)]
        elif part.number == _TYPE and part.wire == VARINT:
            tensor.type = part.value
        elif part.number == _NAME:
            tensor.name = self._scanner.text(part)
        elif part.number == _RAW and part.wire == BYTES:
            tensor.raw = size
        elif part.number == _STRINGS and part.wire == BYTES:
            tensor.strings += 1
            tensor.strings_bytes += size
        elif part.number == _EXTERNAL and part.wire == BYTES:
            self._take_entry(tensor, part)
        elif part.number == _LOCATION and part.wire == VARINT:
            tensor.external = part.value == 1
        elif part.number in _FIXED and part.wire in (BYTES, FIXED32, FIXED64):
            tensor.least += size // _FIXED[part.number]
            tensor.most += size // _FIXED[part.number]
        elif part.number in _VARINTS and part.wire in (BYTES, VARINT):
            tensor.least += 1 if part.wire == VARINT else (size + 9) // 10
            tensor.most += 1 if part.wire == VARINT else size

    def _take_entry(self, tensor: _Tensor, part: Field) -> None:
        entry = {1: "", 2: ""}
        for field in self._scanner.fields(part.start, part.end):
            if field.number in entry:
                entry[field.number] = self._scanner.text(field)
        if entry[1] in tensor.external_entries:
            raise UnsafeError(f"tensor {shown(tensor.name)} gives its external {shown(entry[1])} twice")
        tensor.external_entries[entry[1]] = entry[2]

    def _check_external(self, tensor: _Tensor, need: int) -> None:
        entries = tensor.external_entries
        location = entries.get("location", "")
        offset = _number(tensor, "offset", default=0)
        length = _number(tensor, "length", default=need)
        if location not in self.locations:
            self.locations[location] = member_path(self._folder, location).lstat().st_size
        size = self.locations[location]
        if length != need:
            raise FormatError(
                f"tensor {shown(tensor.name)} needs {format_bytes(need)} and declares {format_bytes(length)} outside"
            )
        if offset + length > size:
            raise FormatError(
                f"tensor {shown(tensor.name)} ends at byte {offset + length} of {shown(location)}, which has {size}",
                "copy that file again, whole",
            )


def _number(tensor: _Tensor, key: str, *, default: int) -> int:
    text = tensor.external_entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise FormatError(f"tensor {shown(tensor.name)} has the external {key} {shown(text)}")
    return int(text)


def _check_inline(tensor: _Tensor, datatype: str, *, elements: int, need: int) -> None:
    if tensor.raw is not None:
        if tensor.raw != need:
            raise FormatError(
                f"tensor {shown(tensor.name)} declares {format_bytes(need)} and holds {format_bytes(tensor.raw)}"
            )
        return
    values = elements * 2 if datatype.startswith("COMPLEX") else elements
    # Values of less than a byte share one: two or four of them are one int32
    if dtypes.BITS[datatype] < 8:
        values = need
    if not tensor.least <= values <= tensor.most:
        raise FormatError(f"tensor {shown(tensor.name)} declares {elements} values and holds {tensor.most}")
