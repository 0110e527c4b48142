"""PyTorch programs: torch.export archives and TorchScript, on the CPU."""

import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from sizewise.protocols.errors import ModelFileError, RuntimeMissingError
from sizewise.protocols.oip import RequestError, Signature
from sizewise.protocols.oip.arrays import Array
from sizewise.runtimes.base import Arrays, LoadedModel, ModelFiles
from sizewise.runtimes.torch_form import open_tensors


class TorchRuntime:
    name = "torch"

    def prepare(self) -> None:
        _torch()

    def load(self, files: ModelFiles) -> LoadedModel:
        torch = _torch()
        torch.set_num_threads(files.threads)
        try:
            if is_torchscript(files):
                program = torch.jit.load(str(files.file), map_location="cpu").eval()
            else:
                program = torch.export.load(str(files.file)).module()
        except (MemoryError, ModelFileError):
            raise
        except Exception as error:
            raise files.broken(error) from error
        return TorchModel(program, Signature(files.inputs, files.outputs))

    def load_form(self, files: ModelFiles, *, second: bool) -> LoadedModel:  # noqa: ARG002 - there is one session
        assert files.form is not None, "load_form where there is one"
        _torch().set_num_threads(files.threads)
        return TorchModel(open_tensors(files.form.path, files.form.entry), Signature(files.inputs, files.outputs))


def is_torchscript(files: ModelFiles) -> bool:
    """By what is in the archive, not by its name: TorchScript carries its code."""
    try:
        with zipfile.ZipFile(files.file) as archive:
            parts = [name.split("/") for name in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise ModelFileError(files.entry, "is not an archive that PyTorch wrote") from error
    return any(len(part) > 2 and part[1] == "code" for part in parts)


class TorchModel:
    """Inputs go in by position, in the order they are declared; outputs are named in the order they come."""

    def __init__(self, program: Any, signature: Signature) -> None:
        self.signature = signature
        self._program = program
        self._torch = _torch()
        self._bf16 = {spec.name for spec in signature.inputs if spec.datatype == "BF16"}

    def run(self, inputs: Arrays, outputs: tuple[str, ...]) -> dict[str, Array]:
        with self._torch.inference_mode():
            result = self._program(*(self._tensor(name, array) for name, array in inputs.items()))
        named = self._named(result)
        missing = [name for name in outputs if name not in named]
        if missing:
            raise RequestError(f"unknown output {missing[0]!r}: this model gives {', '.join(named)}")
        return {name: self._array(named[name]) for name in outputs or named}

    def _tensor(self, name: str, array: Array) -> Any:
        if array.dtype.kind == "O":
            raise RequestError(f"input {name!r}: PyTorch has no BYTES")
        # PyTorch warns of memory it may not write to
        tensor = self._torch.from_numpy(array if array.flags.writeable else array.copy())
        return tensor.view(self._torch.bfloat16) if name in self._bf16 else tensor

    def _named(self, result: Any) -> dict[str, Any]:
        if isinstance(result, Mapping):
            return {str(name): value for name, value in result.items()}
        values = list(result) if isinstance(result, list | tuple) else [result]
        names = self.signature.output_names
        if len(names) != len(values):
            names = tuple(f"output_{i}" for i in range(len(values)))
        return dict(zip(names, values, strict=True))

    def _array(self, value: Any) -> Array:
        if not isinstance(value, self._torch.Tensor):
            return np.asarray(value)
        bits = value.view(self._torch.uint16) if value.dtype == self._torch.bfloat16 else value
        array: Array = bits.numpy()
        return array


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise RuntimeMissingError("torch", "torch") from error
    return torch


RUNTIME = TorchRuntime()
