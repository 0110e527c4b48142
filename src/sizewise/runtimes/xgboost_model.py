"""XGBoost boosters from JSON or UBJSON files."""

from typing import Any

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.errors import RuntimeMissingError
from sizewise.protocols.oip import Signature
from sizewise.protocols.oip.arrays import Array
from sizewise.runtimes.base import Arrays, LoadedModel, ModelFiles, spec


class XgboostRuntime:
    name = "xgboost"

    def prepare(self) -> None:
        # Import only: a parent that has used OpenMP makes its children hang
        _xgboost()

    def load(self, files: ModelFiles) -> LoadedModel:
        xgboost = _xgboost()
        try:
            booster = xgboost.Booster()
            booster.load_model(str(files.file))
            booster.set_param({"nthread": files.threads})
        except MemoryError:
            raise
        except Exception as error:
            raise files.broken(error) from error
        return XgboostModel(booster, files)


class XgboostModel:
    def __init__(self, booster: Any, files: ModelFiles) -> None:
        inputs: tuple[TensorSpec, ...] = files.inputs or (spec("input", "FP32", -1, booster.num_features()),)
        self.signature = Signature(inputs, files.outputs or (spec("predict", "FP32", -1),), casts=True)
        self._booster = booster
        # Names belong to the columns of the training table; rows of numbers have none to compare
        booster.feature_names = None
        booster.feature_types = None

    def run(self, inputs: Arrays, outputs: tuple[str, ...]) -> dict[str, Array]:  # noqa: ARG002
        table = next(iter(inputs.values()))
        return {"predict": self._booster.inplace_predict(table)}


def _xgboost() -> Any:
    try:
        import xgboost
    except ImportError as error:
        raise RuntimeMissingError("xgboost", "xgboost") from error
    return xgboost


RUNTIME = XgboostRuntime()
