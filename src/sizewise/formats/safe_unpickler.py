"""Building a pickle of which every name is on a list. Needs joblib, and runs in ``convert``'s child only."""

import pickle
from typing import Any, BinaryIO

from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler

from sizewise.formats.found import FormatError, shown
from sizewise.formats.pickle_names import ARRAY


def load(stream: BinaryIO, allowed: frozenset[str]) -> Any:
    """What the pickle makes. Raises UnpicklingError at the first name that is not in ``allowed``."""
    return _Unpickler(stream, allowed).load()


def _find(name: str, allowed: frozenset[str]) -> None:
    if name not in allowed:
        raise pickle.UnpicklingError(f"{shown(name)} is not known safe")


class _Plain(pickle.Unpickler):
    def __init__(self, stream: BinaryIO, allowed: frozenset[str]) -> None:
        super().__init__(stream)
        self._allowed = allowed

    def find_class(self, module_name: str, global_name: str) -> Any:
        _find(f"{module_name}.{global_name}", self._allowed)
        return super().find_class(module_name, global_name)


class _Array(NumpyArrayWrapper):  # type: ignore[misc]
    """joblib's record of an array; older joblib reads arrays of objects with a pickle that knows no list."""

    def read_array(self, unpickler: "_Unpickler", ensure_native_byte_order: bool) -> Any:
        if self.dtype.hasobject:
            return _Plain(unpickler.file_handle, unpickler.allowed).load()
        return super().read_array(unpickler, ensure_native_byte_order)


class _Unpickler(NumpyUnpickler):  # type: ignore[misc]
    def __init__(self, stream: BinaryIO, allowed: frozenset[str]) -> None:
        super().__init__("", stream, ensure_native_byte_order=True)
        self.allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        _find(full, self.allowed)
        return _Array if full == ARRAY else super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        raise FormatError(f"refers to something outside of it: {shown(pid)}", "save the model alone")
