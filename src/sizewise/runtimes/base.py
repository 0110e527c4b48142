"""What a runtime is: it opens a model's file and answers batches, in the process that calls it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.errors import ModelFileError
from sizewise.protocols.oip import Signature
from sizewise.protocols.oip.arrays import DTYPES, Array

Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormFiles:
    """A load-ready form of the same model, opened by ``FormRuntime.load_form``."""

    name: str
    path: Path
    entry: str

    @property
    def file(self) -> Path:
        return self.path / self.entry


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """A model on disk and how it is to run. ``inputs`` and ``outputs`` are what inspection found, if it could."""

    path: Path
    """Folder of the artifact."""
    entry: str
    """File in it that the runtime opens."""
    threads: int = 1
    """Threads of one call; what runs beside it is not the runtime's to decide."""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    form: FormFiles | None = None

    @property
    def file(self) -> Path:
        return self.path / self.entry

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where pages that it maps may lie."""
        return (self.path,) if self.form is None else (self.path, self.form.path)

    def broken(self, error: BaseException) -> ModelFileError:
        return ModelFileError(self.entry, one_line(error), "export the model again with the installed version")


class LoadedModel(Protocol):
    """A model in memory. One call at a time."""

    signature: Signature

    def run(self, inputs: Arrays, outputs: tuple[str, ...]) -> dict[str, Array]:
        """The named outputs, or all for an empty tuple, in that order.

        Bits equal those of the framework called with the same arrays and threads. Inputs may be read-only. Raises
        RequestError when the values are the sender's fault, anything else when the model's.
        """
        ...


class Runtime(Protocol):
    """How models of one kind are loaded. Importing the module that has it does not import the framework."""

    name: str

    def prepare(self) -> None:
        """Import what ``load`` needs, and start nothing: a process that did this may fork.

        Raises RuntimeMissingError.
        """
        ...

    def load(self, files: ModelFiles) -> LoadedModel:
        """Raises RuntimeMissingError, ModelFileError, or what the framework raises."""
        ...


@runtime_checkable
class FormRuntime(Runtime, Protocol):
    """A runtime that opens load-ready forms of its own models."""

    def load_form(self, files: ModelFiles, *, second: bool) -> LoadedModel:
        """The session that answers at once, or the ``second`` one, which takes over. Raises what the runtime raises."""
        ...


def one_line(error: BaseException, limit: int = 400) -> str:
    """An error in one line: its words, or its type when it has none."""
    if isinstance(error, MemoryError):
        return "out of memory"
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= limit else words[:limit] + "..."


def text_array(array: Array) -> Array:
    """BYTES as Python strings, for frameworks that have no other text. Raises UnicodeDecodeError."""
    texts = np.empty(array.size, np.object_)
    texts[:] = [value.decode() for value in array.reshape(-1).tolist()]
    return texts.reshape(array.shape)


def asked(outputs: tuple[str, ...], signature: Signature) -> Sequence[str]:
    return outputs or signature.output_names


def spec(name: str, datatype: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


def as_arrays(values: Mapping[str, Any], signature: Signature) -> dict[str, Array]:
    """What code returned as arrays: lists and scalars too, in the declared datatype where that is numeric."""
    return {str(name): _as_array(str(name), value, signature) for name, value in values.items()}


def _as_array(name: str, value: Any, signature: Signature) -> Array:
    first = value[0] if isinstance(value, list | tuple) and value else None
    # numpy's own byte strings would lose trailing zeros. A copy, because code may use its array again while the
    # answer is still being sent
    array = np.array(value, dtype=np.object_ if isinstance(first, bytes) else None)
    declared = next((output.datatype for output in signature.outputs if output.name == name), "BYTES")
    if declared != "BYTES" and array.dtype != DTYPES[declared] and array.dtype.kind in "biuf":
        return array.astype(DTYPES[declared])
    return array
