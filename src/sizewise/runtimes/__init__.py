"""Runtimes: each runs models of one kind. Frameworks are imported when the first model needs them."""

from importlib import import_module

from sizewise.protocols.errors import NotFoundError
from sizewise.runtimes.base import Arrays, LoadedModel, ModelFiles, Runtime

__all__ = ["RUNTIMES", "Arrays", "LoadedModel", "ModelFiles", "Runtime", "get_runtime"]

RUNTIMES = {
    "onnx": "onnx_model",
    "sklearn": "sklearn_model",
    "xgboost": "xgboost_model",
    "lightgbm": "lightgbm_model",
    "torch": "torch_model",
    "python": "python_model",
}
"""Name to module of this package."""


def get_runtime(name: str) -> Runtime:
    """Raises NotFoundError for a name that is not in RUNTIMES. Imports no framework."""
    module = RUNTIMES.get(name)
    if module is None:
        raise NotFoundError("runtime", name, f"known are {', '.join(RUNTIMES)}")
    runtime: Runtime = import_module(f"sizewise.runtimes.{module}").RUNTIME
    return runtime
