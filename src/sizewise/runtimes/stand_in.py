"""An ONNX session that answers in place of another runtime's model, and refuses what that would refuse."""

import math
from dataclasses import replace

import numpy as np
import orjson

from sizewise.protocols.oip import RequestError
from sizewise.protocols.oip.arrays import Array
from sizewise.runtimes.base import Arrays, LoadedModel

REFUSALS = "sizewise.refusals"
"""Key of the file's metadata that makes it a stand-in: JSON, for each of ``KINDS`` that is refused in which words."""
KINDS = ("empty", "nan", "inf", "large")
LARGE = float(np.finfo(np.float32).max) * (1 + 2**-25)
"""Rounds to infinity as a float32, as all that is larger."""


class StandIn:
    """One table in, as frameworks of tables take it; numbers of any type are cast."""

    def __init__(self, model: LoadedModel, refusals: bytes | str) -> None:
        self.signature = replace(model.signature, casts=True)
        self._model = model
        self._refusals: dict[str, str] = orjson.loads(refusals)
        self._limit = LARGE if "large" in self._refusals else math.inf

    def run(self, inputs: Arrays, outputs: tuple[str, ...]) -> dict[str, Array]:
        for array in inputs.values():
            words = self._refused(array)
            if words is not None:
                raise RequestError(words)
        return self._model.run(inputs, outputs)

    def _refused(self, table: Array) -> str | None:
        if table.size and bool((np.abs(table) < self._limit).all()):  # not true of NaN
            return None
        return next((self._refusals[kind] for kind in KINDS if kind in self._refusals and has(kind, table)), None)


def has(kind: str, table: Array) -> bool:
    if kind == "empty":
        return not table.size
    if kind == "large":
        return bool((np.abs(table) >= LARGE).any())
    return bool((np.isnan(table) if kind == "nan" else np.isinf(table)).any())
