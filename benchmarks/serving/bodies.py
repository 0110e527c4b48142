"""One request for each model in every form that peers take, and the answer that all must give."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.models import COLUMNS, SEED, TOKENS, VOCABULARY, WRITERS

TOLERANCE = 1e-3
"""Relative to numbers above one, absolute below: instruction sets and batch sizes order sums differently."""
_DATATYPES = {"f": "FP32", "i": "INT64", "u": "UINT8"}
_ROWS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "small": lambda rng: rng.uniform(0, 1, 64).round(4).astype(np.float32),
    "medium": lambda rng: rng.uniform(0, 1, 512).round(4).astype(np.float32),
    "image": lambda rng: rng.integers(0, 256, (224, 224, 3), dtype=np.uint8),
    "tokens": lambda rng: rng.integers(0, VOCABULARY, TOKENS),
    "trees": lambda rng: rng.uniform(-1, 1, COLUMNS).round(4).astype(np.float32),
}
KINDS = {
    "small": "logistic regression 64 to 10, JSON",
    "medium": "29 MB dense network 512 to 1000, JSON",
    "image": "three convolutions, 224x224x3 bytes as JSON",
    "image-binary": "the same image as a binary tensor",
    "tokens": "transformer block, 128 tokens, JSON",
    "trees": "500 trees, a row of 100 columns, JSON",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A request as it is sent."""

    file: Path
    headers: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    name: str
    model: Path
    forms: dict[str, Form]
    """``v2`` and ``nested`` where it is JSON, ``binary`` where it is not."""
    answer: tuple[float, ...]


@dataclass(slots=True)
class Bodies:
    """Model files and requests in one folder, made when first asked for."""

    folder: Path
    _made: dict[str, Body] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Body:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Body:
        kind = name.removesuffix("-binary")
        model = self.folder / f"{kind}.onnx"
        if not model.exists():
            WRITERS[kind](model)
        row = _ROWS[kind](np.random.default_rng(SEED))[None]
        forms = {}
        for form, (content, headers) in forms_of(row, binary=name != kind).items():
            file = self.folder / f"{name}.{form}"
            file.write_bytes(content)
            forms[form] = Form(file=file, headers=headers)
        return Body(name=name, model=model, forms=forms, answer=_answer(model, row))


def forms_of(row: np.ndarray, *, binary: bool) -> dict[str, tuple[bytes, dict[str, str]]]:
    tensor: dict[str, Any] = {"name": "x", "shape": list(row.shape), "datatype": _DATATYPES[row.dtype.kind]}
    if binary:
        head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": row.nbytes}}]}).encode()
        kind = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
        return {"binary": (head + row.tobytes(), kind)}
    as_json = {"Content-Type": "application/json"}
    return {
        "v2": (json.dumps({"inputs": [tensor | {"data": _plain(row.ravel())}]}).encode(), as_json),
        "nested": (json.dumps({"inputs": _plain(row)}).encode(), as_json),
    }


def difference(got: Any, wanted: tuple[float, ...]) -> str | None:
    """Why an answer, read from JSON, is not the wanted one; None when it is."""
    values = list(_flat(got["outputs"][0]["data"] if isinstance(got, dict) else got))
    if len(values) != len(wanted):
        return f"{len(values)} numbers instead of {len(wanted)}"
    far = [(a, b) for a, b in zip(values, wanted, strict=True) if abs(a - b) > TOLERANCE * max(1.0, abs(b))]
    return f"{far[0][0]:g} instead of {far[0][1]:g}, and {len(far) - 1} more" if far else None


def _flat(value: Any) -> Iterator[float]:
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def _plain(row: np.ndarray) -> Any:
    """Numbers as a person would write them: 0.1234 and not the nearest float's 0.12340000271797180."""
    values = row.astype(np.float64).round(4) if row.dtype.kind == "f" else row
    return values.tolist()


def _answer(model: Path, row: np.ndarray) -> tuple[float, ...]:
    import onnxruntime as ort

    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return tuple(session.run(None, {"x": row})[0].ravel().tolist())
