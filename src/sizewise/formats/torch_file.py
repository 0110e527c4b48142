"""PyTorch files: TorchScript archives, and saved tensors, which can be weighed and not served."""

import re
from io import BytesIO

from sizewise.core.tensors import TensorSpec
from sizewise.formats.archive import Archive
from sizewise.formats.found import FormatError, Found, UnsafeError, shown
from sizewise.formats.torch_export import is_export, read_export
from sizewise.formats.torch_pickle import TensorPickle, read_member, read_tensors

_CODE_MAX_BYTES = 16 * 1024**2
_TRACED_MAX_BYTES = 16 * 1024**2
# TorchScript can touch files only through these operators
_FILE_CALLS = re.compile(
    rb"\b(?:from_file|read_file|write_file)\s*\(|\btorch\.(?:save|load)\s*\(|aten::(?:save|from_file)"
)
_SCRIPT_NAMES = re.compile(r"__torch__\..*|torch\.jit\._pickle\.\w+")
STATE_DICT_NOTE = "holds tensors and no program: export the model with torch.export.save to serve it"


def folder_of(archive: Archive) -> str:
    """The one folder that PyTorch puts all members in; empty when there is none."""
    folders = {name.split("/")[0] for name in archive.members if "/" in name}
    return folders.pop() if len(folders) == 1 else ""


def is_torch(archive: Archive) -> bool:
    folder = folder_of(archive)
    if "serialized_exported_program.json" in archive.members:
        raise FormatError("was exported by an older PyTorch", "load it there and save it with a newer one")
    return bool(folder) and (is_export(archive, folder) or f"{folder}/data.pkl" in archive.members)


def read_torch(archive: Archive) -> Found:
    folder = folder_of(archive)
    if is_export(archive, folder):
        return read_export(archive, folder)
    tensors = read_member(archive, f"{folder}/data.pkl")
    if f"{folder}/constants.pkl" in archive.members:
        return _script(archive, folder, tensors)
    return state_dict(tensors)


def state_dict(tensors: TensorPickle) -> Found:
    """Saved tensors. Raises UnsafeError for a whole pickled module."""
    foreign = tensors.foreign
    if foreign:
        raise UnsafeError(
            f"is a pickle that would run {shown(foreign[0])} when it is opened",
            "save it with torch.export.save(torch.export.export(model, example), 'model.pt2')",
        )
    if not tensors.storages:
        raise FormatError("is a PyTorch file without tensors", "save model.state_dict() or export the model")
    weights = tensors.weights()
    return Found(
        format="pytorch",
        platform="pytorch_state_dict",
        runtime=None,
        parameters=weights.parameters,
        weight_bytes=weights.by_datatype(),
        notes=(STATE_DICT_NOTE,),
    )


def _script(archive: Archive, folder: str, tensors: TensorPickle) -> Found:
    foreign = [name for name in tensors.foreign if not _SCRIPT_NAMES.fullmatch(name)]
    if foreign:
        raise UnsafeError(f"names {shown(foreign[0])}, which no TorchScript archive needs")
    weights = tensors.weights()
    weights.merge(read_member(archive, f"{folder}/constants.pkl").weights())
    for name in archive.under(f"{folder}/code/"):
        if name.endswith(".py"):
            _check_code(archive.read(name, _CODE_MAX_BYTES), name)
    inputs = _traced_inputs(archive, folder)
    note = "inputs are those it was traced with, their first dimension taken for the batch" if inputs else (
        "does not say the shapes of its inputs: input__0, input__1 ... are passed on as they come"
    )  # fmt: skip
    return Found(
        format="pytorch",
        platform="pytorch_torchscript",
        runtime="torch",
        parameters=weights.parameters,
        weight_bytes=weights.by_datatype(),
        inputs=inputs,
        # Without shapes nothing says which dimension is the batch
        batchable=bool(inputs),
        notes=(note,),
    )


def _check_code(code: bytes, name: str) -> None:
    found = _FILE_CALLS.search(code)
    if found:
        raise UnsafeError(f"reads or writes files: {shown(found.group().decode())} in {shown(name)}")


def _traced_inputs(archive: Archive, folder: str) -> tuple[TensorSpec, ...]:
    """What a traced module was shown, which its file remembers; a scripted one has seen nothing."""
    name = f"{folder}/traced_inputs.pkl"
    if name not in archive.members:
        return ()
    # The tensors themselves are not saved, so their storages are not looked for
    traced = read_tensors(BytesIO(archive.read(name, _TRACED_MAX_BYTES)))
    return tuple(
        TensorSpec(name=f"input__{i}", datatype=tensor.datatype, shape=(-1, *tensor.shape[1:]) if tensor.shape else ())
        for i, tensor in enumerate(traced.tensors)
    )
