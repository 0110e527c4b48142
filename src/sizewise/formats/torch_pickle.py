"""Tensors in PyTorch's pickles: weights by storage, and names that a pickle of tensors has no need of.

Source: torch/_utils.py (``_rebuild_tensor_v2``) and torch/serialization.py of PyTorch 2.13.
"""

import struct
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

from sizewise.formats import dtypes
from sizewise.formats.archive import Archive
from sizewise.formats.found import FormatError, UnsafeError, Weights, as_count, element_count, shown
from sizewise.formats.inert_pickle import Call, Name, Pickle, Reference, read_pickle

TENSOR_NAMES = frozenset((
    "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor", "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor_v3", "torch._tensor._rebuild_from_type_v2", "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_parameter_with_state", "torch._utils._rebuild_device_tensor_from_numpy",
    "torch.per_tensor_affine", "torch.per_channel_affine", "torch.Tensor", "torch.nn.parameter.Parameter",
    "torch.device", "torch.Size", "torch.serialization._get_layout", "collections.OrderedDict", "collections.Counter",
    "collections.defaultdict", "builtins.set", "__builtin__.set", "builtins.dict", "builtins.list", "builtins.tuple",
    "_codecs.encode", "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    *dtypes.TORCH_STORAGE,
    *(f"torch.{name}" for name in (
        "float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool",
        "complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "qint8", "quint8", "qint32")),
))  # fmt: skip
"""What ``torch.load(weights_only=True)`` needs for tensors, settings and optimizer state."""

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_PICKLE_MAX_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    datatype: str
    elements: int

    @property
    def size(self) -> int:
        return dtypes.packed_bytes(self.datatype, self.elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorMeta:
    storage: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(slots=True)
class TensorPickle:
    """A pickle of tensors: names, storages and tensors in order."""

    names: tuple[str, ...] = ()
    storages: dict[str, Storage] = field(default_factory=dict)
    tensors: list[TensorMeta] = field(default_factory=list)

    def weights(self) -> Weights:
        weights = Weights()
        for storage in self.storages.values():
            weights.add(storage.datatype, storage.elements, storage.size)
        return weights

    @property
    def foreign(self) -> list[str]:
        """Names that tensors do not need."""
        return [name for name in self.names if name not in TENSOR_NAMES]


def read_tensors(stream: BinaryIO) -> TensorPickle:
    found = TensorPickle()
    pickle = read_pickle(stream, on_call=lambda call: _take(found, call))
    found.names = tuple(pickle.names)
    return found


def read_member(archive: Archive, name: str) -> TensorPickle:
    """The pickle ``name`` of an archive and the storages beside it, whose sizes must agree."""
    found = read_tensors(BytesIO(archive.read(name, _PICKLE_MAX_BYTES)))
    folder = name.removesuffix(".pkl")
    for key, storage in found.storages.items():
        member = archive.members.get(f"{folder}/{key}")
        if member is None:
            raise FormatError(f"has no member {shown(f'{folder}/{key}')}, which holds a tensor")
        if member.size != storage.size:
            raise FormatError(f"has a tensor of {storage.size} bytes in {shown(member.name)} of {member.size}")
    return found


def read_legacy(stream: BinaryIO, size: int) -> TensorPickle:
    """A file that PyTorch wrote before version 1.6: five pickles, then each storage with its length before it."""
    for expected in (_LEGACY_MAGIC, None, None):
        value = read_pickle(stream).value
        if expected is not None and value != expected:
            raise FormatError("is a pickle that PyTorch did not write")
    found = read_tensors(stream)
    keys = read_pickle(stream).value
    for key in keys if isinstance(keys, list) else []:
        storage = found.storages.get(str(key))
        (count,) = struct.unpack("<q", stream.read(8).ljust(8, b"\0"))
        if storage is None or count != storage.elements:
            raise FormatError("has storages that do not agree with its tensors")
        stream.seek(storage.size, 1)
    if stream.tell() > size or not isinstance(keys, list) or set(map(str, keys)) != set(found.storages):
        raise FormatError("is cut off: storages are missing", "copy it again, whole")
    return found


def is_legacy(pickle: Pickle) -> bool:
    return pickle.value == _LEGACY_MAGIC


def _take(found: TensorPickle, call: Call) -> None:
    if call.name not in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"):
        return
    arguments = call.arguments
    if not isinstance(arguments, tuple) or len(arguments) < 4 or not isinstance(arguments[0], Reference):
        raise FormatError("has a damaged tensor")
    reference, offset, shape, strides = arguments[:4]
    key, storage = _storage(reference.identifier)
    if found.storages.setdefault(key, storage) != storage:
        raise FormatError("has a storage of two sizes")
    sizes = tuple(as_count(each, "the size of a tensor") for each in _sequence(shape))
    steps = tuple(as_count(each, "a step of a tensor") for each in _sequence(strides))
    datatype = storage.datatype
    elements = element_count(sizes)
    if len(steps) != len(sizes):
        raise FormatError("has a tensor whose sizes and steps do not agree")
    last = as_count(offset, "the offset of a tensor") + sum((n - 1) * s for n, s in zip(sizes, steps, strict=True))
    # v3 tensors view bytes as another datatype: their storage is checked against its file only
    if call.name.endswith("_v2") and elements and last >= storage.elements:
        raise UnsafeError(f"has a tensor that ends at element {last} of a storage of {storage.elements}")
    found.tensors.append(TensorMeta(storage=key, datatype=datatype, shape=sizes))


def _storage(identifier: object) -> tuple[str, Storage]:
    """``('storage', type, key, device, elements)``."""
    parts = identifier if isinstance(identifier, tuple) else ()
    if len(parts) < 5 or parts[0] != "storage" or not isinstance(parts[1], Name) or not isinstance(parts[2], str):
        raise FormatError("has a damaged reference to a storage")
    datatype = dtypes.TORCH_STORAGE.get(parts[1].full)
    if datatype is None:
        raise FormatError(f"has a storage of unknown type {shown(parts[1].full)}")
    elements = as_count(parts[4], "the size of a storage")
    element_count((elements,))
    return parts[2], Storage(datatype=datatype, elements=elements)


def _sequence(value: object) -> tuple[object, ...]:
    if isinstance(value, Call) and value.name == "torch.Size":
        value = value.arguments[0] if isinstance(value.arguments, tuple) and value.arguments else ()
    if not isinstance(value, tuple | list):
        raise FormatError("has a tensor with a damaged shape")
    return tuple(value)
