"""Load-ready forms: what can be made of which model, by whom, and whether it answers the same.

A maker is ``(files, target) -> entry``: it writes into the folder ``target`` and names the file that is opened.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from sizewise.core.forms import MAPPED, ONNX, PACKED, TENSORS, form_key
from sizewise.protocols.errors import ModelFileError, UsageError
from sizewise.protocols.oip.arrays import Array
from sizewise.runtimes import ModelFiles, get_runtime
from sizewise.runtimes.base import FormFiles, FormRuntime, LoadedModel
from sizewise.runtimes.synthetic import synthetic
from sizewise.system.processor import processor_features

Maker = Callable[[ModelFiles, Path], str]

FORMAT = 1
"""Raise when makers write something else: forms of another format are made again."""
CHECKED_ROWS = (1, 3)
RTOL = 1e-5
ATOL = 1e-6
"""Of the largest answer where that is above 1. Kernels that sum in another order stay within; integers are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormKind:
    """One kind of form."""

    source: str
    """Runtime of the model that it is made of."""
    runtime: str
    """Runtime that opens it; in place of the model's own files where it is the same as ``source``."""
    maker: str
    """``module:function``; the module is imported when a form is made."""
    packages: tuple[str, ...]
    """It is good for one version of each."""

    @property
    def installed(self) -> bool:
        try:
            return bool([version(package) for package in self.packages])
        except PackageNotFoundError:
            return False


KINDS: Mapping[str, FormKind] = {
    MAPPED: FormKind(
        source="onnx", runtime="onnx", maker="sizewise.runtimes.onnx_form:make_mapped", packages=("onnxruntime",)
    ),
    PACKED: FormKind(
        source="onnx", runtime="onnx", maker="sizewise.runtimes.onnx_form:make_packed", packages=("onnxruntime",)
    ),
    ONNX: FormKind(
        source="sklearn",
        runtime="onnx",
        maker="sizewise.runtimes.sklearn_onnx:make_onnx",
        packages=("onnxruntime", "scikit-learn", "skl2onnx"),
    ),
    TENSORS: FormKind(
        source="torch", runtime="torch", maker="sizewise.runtimes.torch_form:make_tensors", packages=("torch",)
    ),
}


@cache
def key_of(name: str) -> str:
    """The key of forms made here and now. Raises PackageNotFoundError without the runtime."""
    versions = [("sizewise-form", str(FORMAT)), *((package, version(package)) for package in KINDS[name].packages)]
    return form_key(name, versions=versions, cpu=processor_features())


def make(name: str, files: ModelFiles, target: Path) -> str:
    """Write the form into ``target`` and have it answer; its entry.

    Raises ModelFileError when it cannot be made, or answers something else than the model does.
    """
    kind = KINDS[name]
    module, _, function = kind.maker.partition(":")
    maker: Maker = getattr(import_module(module), function)
    try:
        entry = maker(files, target)
    except ModelFileError:
        raise
    except Exception as error:
        raise files.broken(error) from error
    verify(name, replace(files, form=FormFiles(name=name, path=target, entry=entry)))
    return entry


def verify(name: str, files: ModelFiles) -> None:
    """Ask the model and each stage of its form the same; one is in memory at a time."""
    kind, form = KINDS[name], files.form
    assert form is not None, "verify a form that was made"
    expected = _answers(get_runtime(kind.source).load(replace(files, form=None)))
    for opened in _opened(kind, files, form):
        for rows, mine, other in zip(CHECKED_ROWS, expected, _answers(opened), strict=False):
            different = [output for output in mine if not alike(mine[output], other.get(output))]
            if different:
                problem = f"its form {name!r} answers {different[0]!r} of {rows} rows differently"
                raise ModelFileError(files.entry, problem, "it is served as it was deployed")


def _opened(kind: FormKind, files: ModelFiles, form: FormFiles) -> Iterator[LoadedModel]:
    """Every session that may answer for it, strictly: no falling back on the model."""
    runtime = get_runtime(kind.runtime)
    if kind.runtime != kind.source or not isinstance(runtime, FormRuntime):
        yield runtime.load(replace(files, path=form.path, entry=form.entry, form=None))
        return
    yield runtime.load_form(files, second=False)
    if has_second(kind.runtime, files):
        yield runtime.load_form(files, second=True)


def has_second(runtime: str, files: ModelFiles) -> bool:
    """Whether another session takes over once it is open."""
    return files.form is not None and files.form.name == PACKED and isinstance(get_runtime(runtime), FormRuntime)


def load_last(runtime: str, files: ModelFiles) -> LoadedModel:
    """The session on a form that no other takes over from. Raises what the runtime raises."""
    opens = get_runtime(runtime)
    if not isinstance(opens, FormRuntime):
        raise UsageError(f"runtime {runtime!r} opens no forms: load the model as it was deployed")
    return opens.load_form(files, second=has_second(runtime, files))


def _answers(model: LoadedModel) -> list[Mapping[str, Array]]:
    batches = CHECKED_ROWS if all(spec.shape[:1] == (-1,) for spec in model.signature.inputs) else CHECKED_ROWS[:1]
    return [model.run(synthetic(model.signature.inputs, rows), ()) for rows in batches]


def alike(mine: Array, other: Array | None) -> bool:
    """Whether two arrays are the same answer, as near as results are promised to be across load modes.

    Quantized outputs have to be equal, too: sums of integers are the same in every order, and one step of them is far
    more than numbers may differ by.
    """
    if other is None or mine.shape != other.shape:
        return False
    if mine.dtype.kind in "OUS":  # texts have the dtype that each library gives them
        return other.dtype.kind in "OUS" and mine.tolist() == other.tolist()
    if mine.dtype != other.dtype:
        return False
    if mine.dtype.kind == "f":
        largest = float(np.abs(mine[np.isfinite(mine)]).max(initial=1.0))
        wide, found = mine.astype(np.float64), other.astype(np.float64)  # float16 has no 1e-6
        return bool(np.allclose(found, wide, rtol=RTOL, atol=ATOL * largest, equal_nan=True))
    return bool((mine == other).all())
