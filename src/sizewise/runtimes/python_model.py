"""Models that are a Python file with ``load()`` and ``predict(model, inputs)``."""

import importlib.util
import sys
from typing import Any

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.errors import ModelFileError
from sizewise.protocols.oip import Signature
from sizewise.protocols.oip.arrays import Array
from sizewise.runtimes.base import Arrays, LoadedModel, ModelFiles, as_arrays, one_line

MODULE = "sizewise_user_model"


class PythonRuntime:
    name = "python"

    def prepare(self) -> None:
        """Nothing is known of what the file will import."""

    def load(self, files: ModelFiles) -> LoadedModel:
        module = _module(files)
        for function in ("load", "predict"):
            if not callable(getattr(module, function, None)):
                raise ModelFileError(files.entry, f"has no function {function}()", "define load() and predict()")
        try:
            model = module.load()
        except MemoryError:
            raise
        except Exception as error:
            raise ModelFileError(files.entry, f"load() failed: {type(error).__name__}: {one_line(error)}") from error
        inputs = files.inputs or _specs(files, module, "INPUTS")
        return PythonModel(module.predict, model, Signature(inputs, files.outputs or _specs(files, module, "OUTPUTS")))


class PythonModel:
    def __init__(self, predict: Any, model: Any, signature: Signature) -> None:
        self.signature = signature
        self._predict = predict
        self._model = model

    def run(self, inputs: Arrays, outputs: tuple[str, ...]) -> dict[str, Array]:
        # Arrays over a request's own bytes are read-only, and users' code may well work in place
        own = {name: array if array.flags.writeable else array.copy() for name, array in inputs.items()}
        values = self._predict(self._model, own)
        if not isinstance(values, dict):
            raise TypeError(f"predict() returned {type(values).__name__}, not a dict of arrays")
        arrays = as_arrays(values, self.signature)
        names = outputs or self.signature.output_names or tuple(arrays)
        missing = [name for name in names if name not in arrays]
        if missing:
            raise KeyError(f"predict() returned {', '.join(arrays) or 'nothing'}, without {', '.join(missing)}")
        return {name: arrays[name] for name in names}


def _module(files: ModelFiles) -> Any:
    # The folder is read-only, and its modules are the model's own
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(files.file.parent))
    found = importlib.util.spec_from_file_location(MODULE, files.file)
    if found is None or found.loader is None:
        raise ModelFileError(files.entry, "is not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[MODULE] = module
    try:
        found.loader.exec_module(module)
    except MemoryError:
        raise
    except Exception as error:
        problem = f"cannot be imported: {type(error).__name__}: {one_line(error)}"
        raise ModelFileError(files.entry, problem) from error
    return module


def _specs(files: ModelFiles, module: Any, name: str) -> tuple[TensorSpec, ...]:
    try:
        return tuple(
            TensorSpec(name=item["name"], datatype=item["datatype"], shape=tuple(item["shape"]))
            for item in getattr(module, name, ())
        )
    except (KeyError, TypeError) as error:
        advice = '[{"name": "input", "datatype": "FP32", "shape": [-1, 4]}]'
        raise ModelFileError(files.entry, f"{name} is not a list of tensors", f"write {name} = {advice}") from error


RUNTIME = PythonRuntime()
