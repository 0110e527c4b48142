"""LightGBM boosters from text files."""

from typing import Any

import numpy as np

from sizewise.protocols.errors import RuntimeMissingError, UnavailableError
from sizewise.protocols.oip import Signature
from sizewise.protocols.oip.arrays import Array
from sizewise.runtimes.base import Arrays, LoadedModel, ModelFiles, spec


class LightgbmRuntime:
    name = "lightgbm"

    def prepare(self) -> None:
        _lightgbm()

    def load(self, files: ModelFiles) -> LoadedModel:
        lightgbm = _lightgbm()
        try:
            booster = lightgbm.Booster(model_file=str(files.file))
        except MemoryError:
            raise
        except Exception as error:
            raise files.broken(error) from error
        return LightgbmModel(booster, files)


class LightgbmModel:
    def __init__(self, booster: Any, files: ModelFiles) -> None:
        inputs = files.inputs or (spec("input", "FP64", -1, booster.num_feature()),)
        trees = booster.num_model_per_iteration()
        shape = (-1,) if trees == 1 else (-1, trees)
        self.signature = Signature(inputs, files.outputs or (spec("predict", "FP64", *shape),), casts=True)
        self._booster = booster
        self._threads = files.threads

    def run(self, inputs: Arrays, outputs: tuple[str, ...]) -> dict[str, Array]:  # noqa: ARG002
        table = next(iter(inputs.values()))
        return {"predict": np.asarray(self._booster.predict(table, num_threads=self._threads))}


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise RuntimeMissingError("lightgbm", "lightgbm") from error
    except OSError as error:  # its library is there, and the system's OpenMP is not
        raise UnavailableError(f"lightgbm cannot start ({error}): apt-get install libgomp1") from error
    return lightgbm


RUNTIME = LightgbmRuntime()
