"""The demo's models: trained on data that ships with scikit-learn, or untrained where only the size matters."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sizewise.demo.onnx_files import write_mlp, write_random_mlp

SEED = 7
ATLAS_ROWS, ATLAS_WIDTH = 131_072, 1024
"""512 MiB as float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoModel:
    """One entry of the demo's spec. ``rows`` are real inputs that traffic draws from, one list per request."""

    name: str
    uri: str
    what: str
    build: Callable[[Path], None]
    slo_p95_ms: int
    max_replicas: int = 2
    priority: int = 0
    command: bool = False


def build_all(folder: Path, models: tuple[DemoModel, ...]) -> Iterator[tuple[DemoModel, bool]]:
    """Make what is missing under ``folder``; yield each model as it stands ready, and whether it was made now.

    Each is built in a folder of its own and renamed, so a run that was interrupted leaves nothing half made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for model in models:
        target = folder / Path(model.uri).parts[0]
        made = not target.exists()
        if made:
            partial = folder / f".{target.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            model.build(partial)
            partial.rename(target)
        yield model, made


@cache
def dataset(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets of one of scikit-learn's own data sets."""
    from sklearn import datasets

    loaders: dict[str, Callable[[], Any]] = {
        "digits": datasets.load_digits,
        "iris": datasets.load_iris,
        "wine": datasets.load_wine,
        "cancer": datasets.load_breast_cancer,
        "diabetes": datasets.load_diabetes,
    }
    data = loaders[name]()
    return np.asarray(data.data, np.float64), np.asarray(data.target)


def _digits(folder: Path) -> None:
    from sklearn.neural_network import MLPClassifier

    features, labels = dataset("digits")
    model = MLPClassifier((64,), max_iter=200, tol=1e-3, random_state=SEED).fit(features / 16.0, labels)
    layers = list(zip(model.coefs_, model.intercepts_, strict=True))
    write_mlp(folder / "digits.onnx", layers, softmax=True, scale=1 / 16.0)


def _skops(folder: Path, file: str, model: Any) -> None:
    from skops import io

    io.dump(model, folder / file)


def _iris(folder: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    _skops(folder, "iris.skops", LogisticRegression(max_iter=500).fit(*dataset("iris")))


def _wine(folder: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    _skops(folder, "wine.skops", RandomForestClassifier(60, random_state=SEED).fit(*dataset("wine")))


def _progression(folder: Path) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    _skops(folder, "progression.skops", HistGradientBoostingRegressor(random_state=SEED).fit(*dataset("diabetes")))


def _cancer(folder: Path) -> None:
    from xgboost import XGBClassifier

    model = XGBClassifier(n_estimators=100, max_depth=4, random_state=SEED, n_jobs=1).fit(*dataset("cancer"))
    model.get_booster().save_model(folder / "cancer.ubj")


def _wine_quality(folder: Path) -> None:
    from xgboost import XGBClassifier

    model = XGBClassifier(n_estimators=50, max_depth=3, random_state=SEED, n_jobs=1).fit(*dataset("wine"))
    model.get_booster().save_model(folder / "cellar.json")


def _diabetes(folder: Path) -> None:
    import lightgbm

    features, targets = dataset("diabetes")
    options = {"objective": "regression", "num_leaves": 15, "verbose": -1, "seed": SEED, "num_threads": 1}
    model = lightgbm.train(options, lightgbm.Dataset(features, targets), num_boost_round=80)
    model.save_model(folder / "diabetes.txt")


def _outliers(folder: Path) -> None:
    features, _ = dataset("cancer")
    mean, spread = features.mean(axis=0), features.std(axis=0)
    (folder / "outliers.py").write_text(_OUTLIERS.format(mean=mean.tolist(), spread=spread.tolist(), n=len(mean)))


def _lookup(folder: Path) -> None:
    (folder / "lookup.py").write_text(_LOOKUP)


def _legacy(folder: Path) -> None:
    import pickle

    from sklearn.neighbors import KNeighborsClassifier

    (folder / "model.pkl").write_bytes(pickle.dumps(KNeighborsClassifier().fit(*dataset("iris"))))
    (folder / "app.py").write_text(_LEGACY)


def _atlas(folder: Path) -> None:
    """Random vectors in the place of embeddings: what is shown is what it takes to hold and search them."""
    rng = np.random.default_rng(SEED)
    shape = (ATLAS_ROWS, ATLAS_WIDTH)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, ATLAS_ROWS, 8192):
        vectors[start : start + 8192] = rng.standard_normal((8192, ATLAS_WIDTH), dtype=np.float32)
    vectors.flush()
    (folder / "atlas.py").write_text(_ATLAS.format(width=ATLAS_WIDTH))


_ATLAS = '''"""Nearest neighbors by cosine among the vectors beside this file."""

import pathlib

import numpy as np

# One query at a time: a batch would need an array of all cosines for each of its rows
INPUTS = [{{"name": "query", "datatype": "FP32", "shape": [1, {width}]}}]
OUTPUTS = [
    {{"name": "neighbor", "datatype": "INT64", "shape": [1, 5]}},
    {{"name": "cosine", "datatype": "FP32", "shape": [1, 5]}},
]


def load():
    vectors = np.load(pathlib.Path(__file__).with_name("vectors.npy"))
    vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return vectors


def predict(vectors, inputs):
    query = inputs["query"]
    length = np.sqrt((query**2).sum(axis=1, keepdims=True))
    cosines = (query / np.maximum(length, 1e-12)) @ vectors.T
    best = np.argpartition(-cosines, 5, axis=1)[:, :5]
    order = np.take_along_axis(cosines, best, axis=1).argsort(axis=1)[:, ::-1]
    best = np.take_along_axis(best, order, axis=1)
    return {{"neighbor": best.astype(np.int64), "cosine": np.take_along_axis(cosines, best, axis=1)}}
'''

_OUTLIERS = '''"""How far a sample lies from the training data, in standard deviations."""

import numpy as np

INPUTS = [{{"name": "input", "datatype": "FP64", "shape": [-1, {n}]}}]
OUTPUTS = [{{"name": "distance", "datatype": "FP64", "shape": [-1]}}]

MEAN = {mean}
SPREAD = {spread}


def load():
    return np.array(MEAN), np.array(SPREAD)


def predict(model, inputs):
    mean, spread = model
    return {{"distance": np.sqrt((((inputs["input"] - mean) / spread) ** 2).mean(axis=1))}}
'''

_LOOKUP = '''"""Scores a customer with features that a database holds; the wait for it stands in for the database."""

import time

import numpy as np

INPUTS = [{"name": "input", "datatype": "FP64", "shape": [1, 4]}]
OUTPUTS = [{"name": "score", "datatype": "FP64", "shape": [1]}]
ROUND_TRIP_S = 0.04


def load():
    return np.array([0.4, -0.2, 0.1, 0.7])


def predict(weights, inputs):
    time.sleep(ROUND_TRIP_S)
    return {"score": inputs["input"] @ weights}
'''

_LEGACY = '''"""A server as many teams have it: Flask, a pickle, one route. Sizewise runs it unchanged."""

import pathlib
import pickle
import sys

from flask import Flask, jsonify, request
from werkzeug.serving import make_server

app = Flask(__name__)
model = pickle.loads((pathlib.Path(__file__).parent / "model.pkl").read_bytes())


@app.get("/healthz")
def healthz():
    return "ok"


@app.post("/predict")
def predict():
    return jsonify(prediction=model.predict(request.get_json()["rows"]).tolist())


make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True).serve_forever()
'''


def _mlp(file: str, sizes: tuple[int, ...], *, external: bool = False) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        write_random_mlp(folder / file, sizes, seed=SEED, external=external)

    return build


MODELS: tuple[DemoModel, ...] = (
    DemoModel(
        name="digits", uri="digits/digits.onnx", what="handwritten digits, popular", build=_digits, slo_p95_ms=50
    ),
    DemoModel(name="iris", uri="iris/iris.skops", what="a few KB", build=_iris, slo_p95_ms=100),
    DemoModel(name="wine", uri="wine/wine.skops", what="forest of 60 trees", build=_wine, slo_p95_ms=150),
    DemoModel(
        name="progression",
        uri="progression/progression.skops",
        what="boosted trees, bursts",
        build=_progression,
        slo_p95_ms=150,
    ),
    DemoModel(name="cancer", uri="cancer/cancer.ubj", what="XGBoost, bursts", build=_cancer, slo_p95_ms=100),
    DemoModel(name="cellar", uri="cellar/cellar.json", what="XGBoost as JSON", build=_wine_quality, slo_p95_ms=100),
    DemoModel(name="diabetes", uri="diabetes/diabetes.txt", what="LightGBM", build=_diabetes, slo_p95_ms=100),
    DemoModel(name="outliers", uri="outliers/outliers.py", what="plain Python", build=_outliers, slo_p95_ms=100),
    DemoModel(
        name="lookup",
        uri="lookup/lookup.py",
        what="plain Python, waits for a database, bursts",
        build=_lookup,
        slo_p95_ms=300,
        max_replicas=3,
    ),
    DemoModel(
        name="encoder",
        uri="encoder/encoder.onnx",
        what="30 MB network",
        build=_mlp("encoder.onnx", (512, 2048, 2048, 1000)),
        slo_p95_ms=150,
    ),
    *(
        DemoModel(
            name=name,
            uri=f"{name}/{name}.onnx",
            what="330 MB network, one burst",
            build=_mlp(f"{name}.onnx", (512, 6144, 6144, 6144, 500), external=True),
            slo_p95_ms=400,
        )
        for name in ("tagger", "ranker", "vision")
    ),
    DemoModel(
        name="atlas",
        uri="atlas",
        what="search over 512 MiB of vectors, rarely used",
        build=_atlas,
        priority=10,
        # A search takes a tenth of it, a load more than twice as long: what is let go too early is late
        slo_p95_ms=250,
        max_replicas=1,
    ),
    DemoModel(
        name="legacy",
        uri="legacy/app.py",
        what="Flask and a pickle, unchanged",
        build=_legacy,
        slo_p95_ms=250,
        max_replicas=1,
        command=True,
    ),
)
