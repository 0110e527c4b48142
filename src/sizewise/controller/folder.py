"""A folder as a spec: every model file in it, under its file name."""

import re
from pathlib import Path

from sizewise.controller.spec import NAME, ModelSpec, Spec
from sizewise.formats import inspect
from sizewise.protocols.errors import ModelFileError, UsageError

_SURE = frozenset({".onnx", ".skops", ".ubj", ".pt2", ".pt", ".pth"})
"""Names that promise a model: one that cannot be read is an error to show, not a file to pass over."""


def folder_spec(folder: Path) -> Spec:
    """Models that can be served, by their file names without suffix, or with it where two would be called the same.

    Files that are no model, side files of a model and models that can only be weighed are left out. A folder inside
    counts as one model where it holds one. Raises UsageError when there is none, or when two would share a name.
    """
    files = _models(folder)
    if not files:
        raise UsageError(f"{folder}: no file in it is a model that can be served: give a spec, or another folder")
    stems = [_name(path.stem) for path in files]
    names = [stem if stems.count(stem) == 1 else _name(path.name) for stem, path in zip(stems, files, strict=True)]
    for i, name in enumerate(names):
        if name in names[:i]:
            two = f"{files[names.index(name)].name} and {files[i].name}"
            raise UsageError(f"{folder}: {two} would both be called {name!r}: rename one, or give a spec")
    models = (ModelSpec(name=name, uri=str(path)) for name, path in zip(names, files, strict=True))
    return Spec(models=tuple(sorted(models, key=lambda model: model.name)), source=str(folder))


def _models(folder: Path) -> list[Path]:
    found: list[Path] = []
    taken: set[Path] = set()
    for path in sorted(folder.absolute().iterdir()):
        if path.name.startswith((".", "_")):
            continue
        try:
            facts = inspect(path)
        except ModelFileError:
            if path.suffix in _SURE:
                found.append(path)
            continue
        if facts.runtime is not None:
            found.append(path)
            # What one model is made of is not another: external data, an array that code loads.
            taken |= {(path.parent / name).absolute() for name in facts.files} - {path} if path.is_file() else set()
    return [path for path in found if path not in taken]


def _name(text: str) -> str:
    """The closest name that a model may have.

    >>> _name("My Model (v2)")
    'my-model-v2'
    """
    name = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:63] or "model"
    assert NAME.fullmatch(name)
    return name
