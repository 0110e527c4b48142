"""What a model file or folder is, found out without running anything of it."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from sizewise.core.profiles import ModelFacts
from sizewise.formats import python_file
from sizewise.formats.confine import Source, folder_files, member_path
from sizewise.formats.detect import SUPPORTED, detect
from sizewise.formats.found import FormatError, Found, UnsafeError, rows_vary, shown
from sizewise.formats.huggingface import CONFIG, is_huggingface, read_huggingface
from sizewise.protocols.errors import ModelFileError

_DAMAGE = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, RecursionError, TypeError, ValueError,
    struct.error, zlib.error,
)  # fmt: skip
"""What reading a hostile file may run into where no check of ours came first."""


def inspect(path: Path) -> ModelFacts:
    """What the files of a model say: format, weights, inputs and outputs, and everything that belongs to it.

    ``path`` is a file, whose folder is its parent, or a folder that holds one model. Nothing is run, no framework is
    imported, and a file of any size takes milliseconds. Raises ModelFileError for everything that is not a sound
    model which stays in its folder.
    """
    try:
        if path.is_dir():
            return _inspect_folder(path)
        return _inspect_file(path)
    except FormatError as error:
        raise ModelFileError(str(path), error.problem, error.advice) from error
    except FileNotFoundError as error:
        raise ModelFileError(str(path), "is not there", "check the path") from error
    except OSError as error:
        raise ModelFileError(str(path), f"cannot be read: {error.strerror or error}", "check its rights") from error
    except _DAMAGE as error:
        raise ModelFileError(str(path), f"is damaged ({type(error).__name__})", "copy it again, whole") from error


def _inspect_file(path: Path) -> ModelFacts:
    if path.is_symlink():
        target = shown(str(path.readlink()))
        raise UnsafeError(f"is a symbolic link to {target}", "name the file that it leads to")
    with Source(path) as source:
        detected = detect(source, path, path.parent)
        if detected is None:
            raise FormatError("is in no format that can be read", f"supported: {SUPPORTED}")
        found = detected.read()
    return _facts(found, path.parent, entry=path.name, files=(path.name, *found.side_files))


def _inspect_folder(folder: Path) -> ModelFacts:
    files = folder_files(folder)
    if not files:
        raise FormatError("is an empty folder", "name a folder that holds a model")
    candidate = _choose(folder, files)
    return _facts(candidate.found, folder, entry=candidate.name, files=files)


def _facts(found: Found, folder: Path, *, entry: str, files: tuple[str, ...]) -> ModelFacts:
    batchable = rows_vary(found.inputs) if found.batchable is None else found.batchable
    return ModelFacts(
        format=found.format,
        platform=found.platform,
        runtime=found.runtime,
        disk_bytes=_size(folder, files),
        external_bytes=_size(folder, found.side_files) if found.format == "onnx" else 0,
        parameters=found.parameters,
        weight_bytes=found.weight_bytes,
        inputs=found.inputs,
        outputs=found.outputs,
        batchable=batchable,
        entry=entry,
        files=tuple(sorted(set(files))),
        notes=found.notes,
    )


def _size(folder: Path, files: tuple[str, ...]) -> int:
    return sum((folder / name).lstat().st_size for name in files)


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    found: Found


def _choose(folder: Path, files: tuple[str, ...]) -> _Candidate:
    """The one model of a folder.

    Cases, in this order: one Python model, which may load everything else; one file that can be served; a Hugging
    Face folder; one file that can be weighed. Several of a kind are an error that lists them.
    """
    code, models, refused = _candidates(folder, files)
    if len(code) > 1 or (not code and len(models) > 1 and not is_huggingface(files)):
        names = ", ".join(sorted(code or [each.name for each in models])[:10])
        raise FormatError(f"holds several models: {names}", "name one of them, or give each a folder of its own")
    if code:
        with Source(member_path(folder, code[0])) as source:
            return _Candidate(code[0], python_file.read_python(source))
    if models and not (is_huggingface(files) and models[0].found.runtime is None):
        return models[0]
    if is_huggingface(files):
        return _Candidate(CONFIG, read_huggingface(folder, files))
    if refused is not None:
        name, error = refused
        raise type(error)(f"holds {shown(name)}, which {error.problem}", error.advice) from error
    raise FormatError("holds no file in a format that can be read", f"supported: {SUPPORTED}")


def _candidates(
    folder: Path, files: tuple[str, ...]
) -> tuple[list[str], list[_Candidate], tuple[str, FormatError] | None]:
    """Python models by name; other models, those that can be served before those that cannot; the first refusal."""
    code: list[str] = []
    models: list[_Candidate] = []
    refused: tuple[str, FormatError] | None = None
    for name in files:
        if "/" in name or not (folder / name).lstat().st_size:
            continue
        with Source(member_path(folder, name)) as source:
            try:
                detected = detect(source, folder / name, folder)
                if detected is not None and detected.is_code:
                    code += [name] if python_file.defines_model(source) else []
                elif detected is not None:
                    models.append(_Candidate(name, detected.read()))
            except FormatError as error:
                refused = refused or (name, error)
    served = [each for each in models if each.found.runtime is not None]
    if refused is not None and not served and not code and not is_huggingface(files):
        models = []
    return code, served or models, refused
