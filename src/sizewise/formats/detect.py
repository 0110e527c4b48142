"""Which format a file has, told by its content; its name only decides where content cannot."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from sizewise.formats import lightgbm_file, onnx_file, python_file, safetensors_file, xgboost_file
from sizewise.formats.archive import Archive
from sizewise.formats.confine import Source
from sizewise.formats.found import FormatError, Found, UnsafeError
from sizewise.formats.inert_pickle import read_pickle
from sizewise.formats.skops_file import SCHEMA, read_skops
from sizewise.formats.torch_file import is_torch, read_torch, state_dict
from sizewise.formats.torch_pickle import is_legacy, read_legacy

SUPPORTED = "ONNX, scikit-learn (.skops), XGBoost (.json, .ubj), LightGBM text, PyTorch (.pt2, TorchScript), Python"
PICKLE_SUFFIXES = (".pkl", ".pickle", ".joblib")
_TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")

# First bytes of formats that we meet often and do not read, and what helps
_UNSUPPORTED: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89HDF", "is an HDF5 file (Keras)", "convert it with tf2onnx to ONNX"),
    (b"GGUF", "is a GGUF file (llama.cpp)", "bring its server as a command model"),
    (b"binf", "is XGBoost's old binary format", "load it with xgboost and save it as .ubj"),
    (b"TFL3", "is a TensorFlow Lite file", "convert it with tf2onnx to ONNX"),
    (b"CBM1", "is a CatBoost file", "save it with format='onnx'"),
)
Reader = Callable[[], Found]


@dataclass(frozen=True, slots=True)
class Detected:
    """How to read a file, and whether it is code that runs in its own right."""

    read: Reader
    is_code: bool = False


def detect(source: Source, path: Path, folder: Path) -> Detected | None:
    """How to read this file, or None when it is no model. Raises FormatError for one that must not be opened."""
    start = source.read(0, min(source.size, 4096))
    suffix = path.suffix.lower()
    for magic, problem, advice in _UNSUPPORTED:
        # TensorFlow Lite has its mark behind an offset
        if start.startswith(magic) or (magic == b"TFL3" and start[4:8] == magic):
            raise FormatError(problem, advice)
    if start.startswith(b"PK"):
        return _in_archive(source)
    if _is_pickle(start, suffix):
        return Detected(lambda: _pickle(source, path))
    if suffix == ".py":
        return Detected(lambda: python_file.read_python(source), is_code=True)
    if lightgbm_file.looks_like_lightgbm(source):
        return Detected(lambda: lightgbm_file.read_lightgbm(source))
    if xgboost_file.looks_like_ubj(source):
        return Detected(lambda: xgboost_file.read_xgboost_ubj(source))
    if xgboost_file.looks_like_json(source):
        return Detected(lambda: xgboost_file.read_xgboost_json(source))
    if suffix == ".safetensors" or safetensors_file.looks_like_safetensors(source):
        return Detected(lambda: safetensors_file.read_safetensors(source))
    if suffix == ".onnx" or onnx_file.looks_like_onnx(source):
        return Detected(lambda: onnx_file.read_onnx(source, folder))
    return _cut_off(suffix)


def _cut_off(suffix: str) -> Detected | None:
    """A file whose name promises a format that its content is not."""
    promised = {".skops": "skops", ".pt2": "torch.export", ".pt": "PyTorch", ".pth": "PyTorch", ".ubj": "XGBoost"}
    if suffix in promised:
        raise FormatError(f"is not a {promised[suffix]} file, or is cut off", "copy it again, whole")
    return None


def _in_archive(source: Source) -> Detected | None:
    archive = Archive(source)
    if SCHEMA in archive.members:
        return Detected(lambda: read_skops(archive))
    if is_torch(archive):
        return Detected(lambda: read_torch(archive))
    return None


def _is_pickle(start: bytes, suffix: str) -> bool:
    binary = start[:1] == b"\x80" and len(start) > 1 and start[1] in range(2, 6)
    return binary or suffix in PICKLE_SUFFIXES or (suffix in _TORCH_SUFFIXES and start[:1] in (b"c", b"("))


def _pickle(source: Source, path: Path) -> Found:
    """PyTorch's oldest files are pickles too, and can be weighed; any other pickle is refused."""
    if _is_torch_legacy(source):
        return state_dict(read_legacy(source.stream(), source.size))
    target = path.with_suffix(".skops")
    raise UnsafeError(
        "is a pickle, which can run any code when it is opened, so it is not served",
        f"sizewise convert {_argument(path)} -o {_argument(target)}",
    )


def _argument(path: Path) -> str:
    """As it may be pasted into a shell."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _is_torch_legacy(source: Source) -> bool:
    """PyTorch's first pickle is one number, which says whose file it is."""
    try:
        return is_legacy(read_pickle(BytesIO(source.read(0, min(64, source.size)))))
    except FormatError:
        return False
