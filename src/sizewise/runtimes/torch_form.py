"""Load-ready forms of ``torch.export`` programs: the program without its weights, and those in a safetensors file.

That file is mapped: nothing is copied as it is opened, and replicas share its pages. Mappings are private, so a program
that writes to its buffers writes to copies of its own.
"""

import json
import mmap
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sizewise.protocols.errors import ModelFileError
from sizewise.runtimes.base import ModelFiles

ENTRY = "program.pt2"
WEIGHTS = "weights.safetensors"
ALIGNED_BYTES = 64
"""As PyTorch allocates; its kernels read that fastest."""
DATATYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
"""Names of safetensors and of PyTorch."""


def make_tensors(files: ModelFiles, target: Path) -> str:
    import torch

    program = torch.export.load(str(files.file))
    weights = {name: tensor.detach() for name, tensor in program.state_dict.items()}
    _write(target / WEIGHTS, weights, files)
    for name, tensor in program.state_dict.items():
        # One element that looks like all of them: the program goes on knowing shapes and types
        hollow = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
        is_parameter = isinstance(tensor, torch.nn.Parameter)
        program.state_dict[name] = torch.nn.Parameter(hollow, tensor.requires_grad) if is_parameter else hollow
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that no weight is there as a whole
        torch.export.save(program, str(target / ENTRY))
    return ENTRY


def open_tensors(folder: Path, entry: str) -> Any:
    import torch

    program = torch.export.load(str(folder / entry)).module()
    program.load_state_dict(_mapped(folder / WEIGHTS), assign=True)
    return program


def _write(path: Path, weights: Mapping[str, Any], files: ModelFiles) -> None:
    """Largest elements first, so that each tensor begins where its datatype may."""
    names = {value: name for name, value in DATATYPES.items()}
    header: dict[str, object] = {}
    at = 0
    ordered = sorted(weights.items(), key=lambda item: -item[1].element_size())
    for name, tensor in ordered:
        datatype = names.get(str(tensor.dtype).removeprefix("torch."))
        if datatype is None or tensor.layout is not _torch().strided:
            raise ModelFileError(files.entry, f"has a weight {name!r} of {tensor.dtype}", "it is served as it is")
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": datatype, "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNED_BYTES)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in ordered:
            file.write(tensor.contiguous().reshape(-1).view(_torch().uint8).numpy().data if tensor.numel() else b"")


def _mapped(path: Path) -> dict[str, Any]:
    torch = _torch()
    with path.open("rb") as file:
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    start = 8 + int.from_bytes(held[:8], "little")
    found = {}
    for name, entry in json.loads(held[8:start]).items():
        datatype, shape = getattr(torch, DATATYPES[entry["dtype"]]), entry["shape"]
        begin, end = entry["data_offsets"]
        count = (end - begin) // datatype.itemsize
        flat = (
            torch.frombuffer(held, dtype=datatype, count=count, offset=start + begin)
            if count
            else torch.empty(0, dtype=datatype)
        )
        found[name] = flat.reshape(shape)
    return found


def _torch() -> Any:
    import torch

    return torch
