"""scikit-learn estimators from skops files."""

import contextlib
import importlib.abc
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.errors import RuntimeMissingError
from sizewise.protocols.oip import RequestError, Signature
from sizewise.protocols.oip.arrays import DATATYPES, Array
from sizewise.runtimes.base import Arrays, ModelFiles, asked, one_line, spec, text_array

INPUT = "input"
METHODS = ("predict", "predict_proba")


class SklearnRuntime:
    name = "sklearn"

    def prepare(self) -> None:
        # Imports all of scikit-learn, so that no child has to
        _skops()
        import sizewise.formats.trusted  # noqa: F401

    def load(self, files: ModelFiles) -> "SklearnModel":
        skops = _skops()
        from sizewise.formats.trusted import SKLEARN_TRUSTED

        try:
            estimator = skops.load(files.file, trusted=list(SKLEARN_TRUSTED))
        except MemoryError:
            raise
        except Exception as error:
            raise files.broken(error) from error
        if not hasattr(estimator, "predict"):
            raise files.broken(TypeError(f"{type(estimator).__name__} has no predict()"))
        return SklearnModel(estimator, files)


class SklearnModel:
    def __init__(self, estimator: Any, files: ModelFiles) -> None:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        # For the life of the process, which has no other use of these pools
        threadpool_limits(limits=files.threads)
        one_job(estimator)
        self.signature = Signature(files.inputs or _inputs(estimator), files.outputs or _outputs(estimator), casts=True)
        self.estimator = estimator
        self._text = any(item.datatype == "BYTES" for item in self.signature.inputs)

    def run(self, inputs: Arrays, outputs: tuple[str, ...]) -> dict[str, Array]:
        table = next(iter(inputs.values()))
        try:
            data = text_array(table) if self._text else table
            names = asked(outputs, self.signature)
            return {name: np.asarray(getattr(self.estimator, name)(data)) for name in names}
        except ValueError as error:
            # How scikit-learn refuses data, NaN for one; a UnicodeDecodeError is one as well
            raise RequestError(f"the model refuses this input: {one_line(error)}") from error


def one_job(estimator: Any) -> None:
    """Threads are counted by Sizewise: no estimator starts its own workers."""
    if hasattr(estimator, "get_params"):
        jobs = {name: 1 for name in estimator.get_params(deep=True) if name.split("__")[-1] == "n_jobs"}
        estimator.set_params(**jobs)
    for part in getattr(estimator, "estimators_", ()):
        if hasattr(part, "n_jobs"):
            part.n_jobs = 1


def _inputs(estimator: Any) -> tuple[TensorSpec, ...]:
    return (spec(INPUT, "FP64", -1, int(getattr(estimator, "n_features_in_", -1))),)


def _outputs(estimator: Any) -> tuple[TensorSpec, ...]:
    classes = getattr(estimator, "classes_", None)
    if not isinstance(classes, np.ndarray):
        datatype = "INT32" if hasattr(estimator, "cluster_centers_") else "FP64"
        return (spec("predict", datatype, -1),)
    label = spec("predict", DATATYPES.get(classes.dtype, "BYTES"), -1)
    if not hasattr(estimator, "predict_proba"):
        return (label,)
    return (label, spec("predict_proba", "FP64", -1, len(classes)))


def _skops() -> Any:
    try:
        with _without("torch"):
            import skops.io
    except ImportError as error:
        raise RuntimeMissingError("scikit-learn with skops", "sklearn") from error
    return skops.io


class _Hidden(importlib.abc.MetaPathFinder):
    """Says that a package is not installed."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == self._package:
            raise ModuleNotFoundError(f"{fullname} is not needed here", name=fullname)


@contextlib.contextmanager
def _without(package: str) -> Iterator[None]:
    """Importing skops walks all of scikit-learn, which imports PyTorch where that is installed: 150 MB for nothing."""
    finder = _Hidden(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


RUNTIME = SklearnRuntime()
