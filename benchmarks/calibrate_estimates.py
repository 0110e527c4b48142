"""Measures models of several sizes for each runtime and fits the constants of ``sizewise.profiling.constants``.

    .venv/bin/python benchmarks/calibrate_estimates.py

Prints Python to paste there. Run it where PyTorch is not installed: skops imports it when it is there, and that is
130 MiB more in every process. Straight lines, least squares on relative errors, so that small models count as much as
large ones; slopes and intercepts are never below zero. The models are made here from a fixed seed.
"""

import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from sizewise.core.profiles import ModelFacts, ModelProfile
from sizewise.formats import inspect
from sizewise.profiling.constants import RuntimeConstants
from sizewise.profiling.measure import Bench, measure
from sizewise.profiling.timing import CurveBudget, quantile
from sizewise.system.memory import status_bytes

SEED = 7
REPEATS = 3
FEATURES = 20


@dataclass(frozen=True)
class Sample:
    facts: ModelFacts
    profile: ModelProfile


def onnx_models(folder: Path) -> Iterator[Path]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(SEED)
    for width in (16, 256, 1024, 2896, 7168):
        names = ("a", "b")
        weights = [random.standard_normal((width, width), dtype=np.float32) / width**0.5 for _ in names]
        nodes = [
            helper.make_node("MatMul", ["x", "a"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("MatMul", ["r", "b"], ["y"]),
        ]
        graph = helper.make_graph(
            nodes,
            "mlp",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", width])],
            [numpy_helper.from_array(weight, name) for weight, name in zip(weights, names, strict=True)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        path = folder / f"mlp-{width}.onnx"
        onnx.save(model, path)
        yield path


def table(rows: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(SEED)
    x = random.standard_normal((rows, FEATURES))
    return x, (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(int)


def sklearn_models(folder: Path) -> Iterator[Path]:
    import skops.io
    from sklearn.ensemble import RandomForestClassifier

    for trees in (3, 30, 100, 300):
        path = folder / f"forest-{trees}.skops"
        skops.io.dump(RandomForestClassifier(trees, random_state=SEED).fit(*table()), path)
        yield path


def xgboost_models(folder: Path) -> Iterator[Path]:
    import xgboost

    for trees in (10, 100, 1000, 4000):
        path = folder / f"boost-{trees}.ubj"
        data = xgboost.DMatrix(*table())
        xgboost.train({"max_depth": 6, "eta": 0.02, "seed": SEED, "nthread": 2}, data, trees).save_model(path)
        yield path


def lightgbm_models(folder: Path) -> Iterator[Path]:
    import lightgbm

    for trees in (10, 100, 1000, 4000):
        path = folder / f"boost-{trees}.txt"
        x, y = table()
        options = {"verbose": -1, "num_threads": 2, "seed": SEED, "learning_rate": 0.02, "objective": "binary"}
        lightgbm.train(options, lightgbm.Dataset(x, y), trees).save_model(path)
        yield path


def python_models(folder: Path) -> Iterator[Path]:
    for size in (1_000, 1_000_000):
        path = folder / f"linear_{size}.py"
        path.write_text(
            "import numpy as np\n"
            'INPUTS = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]\n'
            'OUTPUTS = [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]\n'
            f"def load():\n    return np.ones({size}, np.float32)\n"
            "def predict(model, inputs):\n    return {'y': inputs['x'] * model[:4]}\n"
        )
        yield path


MODELS: dict[str, Callable[[Path], Iterator[Path]]] = {
    "onnx": onnx_models,
    "sklearn": sklearn_models,
    "xgboost": xgboost_models,
    "lightgbm": lightgbm_models,
    "python": python_models,
}


def samples(paths: Iterator[Path], bench: Bench) -> list[Sample]:
    found: list[Sample] = []
    for path in paths:
        facts = inspect(path)
        found.extend(Sample(facts, measure(facts, path.parent, bench)) for _ in range(REPEATS))
        print(
            f"# {path.name}: {found[-1].profile.load.total_s:.4f} s, {found[-1].profile.curve.p50_s(1) * 1e6:.0f} us",
            file=sys.stderr,
        )
    return found


def line(xs: list[float], ys: list[float]) -> tuple[float, float]:
    """Intercept and slope, neither below zero, with the least sum of squared relative errors.

    Sizes that hardly differ say nothing about a slope: the median stands for all then.
    """
    if max(xs) < 2 * min(xs):
        return median(ys), 0.0
    weights = [1 / max(y, 1e-9) ** 2 for y in ys]
    best = (float("inf"), 0.0, 0.0)
    total = sum(weights)
    mean_x = sum(w * x for w, x in zip(weights, xs, strict=True)) / total
    mean_y = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, x in zip(weights, xs, strict=True))
    shared = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in zip(weights, xs, ys, strict=True))
    slope = shared / spread if spread else 0.0
    through = sum(w * x * y for w, x, y in zip(weights, xs, ys, strict=True)) / (
        sum(w * x * x for w, x in zip(weights, xs, strict=True)) or 1.0
    )
    for intercept, incline in ((mean_y - slope * mean_x, slope), (mean_y, 0.0), (0.0, through)):
        if intercept >= 0 and incline >= 0:
            error = sum(w * (y - intercept - incline * x) ** 2 for w, x, y in zip(weights, xs, ys, strict=True))
            best = min(best, (error, intercept, incline))
    return best[1], best[2]


def constants(found: list[Sample]) -> dict[str, float]:
    disk = [float(s.facts.disk_bytes) for s in found]
    weights = [float(s.facts.weights_bytes) for s in found]
    parameters = [
        float(s.facts.parameters if s.facts.parameters is not None else w / 4)
        for s, w in zip(found, weights, strict=True)
    ]
    load_s, load_rate = line(disk, [s.profile.load.load_s for s in found])
    colds = [s.profile.load_cold or s.profile.load for s in found]
    extra = [max(0.0, c.load_s - s.profile.load.load_s) for c, s in zip(colds, found, strict=True)]
    call_s, call_rate = line(parameters, [s.profile.curve.p50_s(1) for s in found])
    resident, resident_rate = line(weights, [float(s.profile.memory.resident_bytes) for s in found])
    peaks = [s.profile.memory.peak_bytes - s.profile.memory.base_bytes for s in found]
    return {
        "start_s": median(s.profile.load.start_s for s in found),
        "load_s": load_s,
        "load_s_per_byte": load_rate,
        "read_s_per_byte": sum(extra) / sum(disk) if max(disk) >= 2 * min(disk) else 0.0,
        "warmup_s": median(s.profile.load.warmup_s for s in found[: len(found) // 2]),
        "base_bytes": median(s.profile.memory.base_bytes for s in found),
        "resident_bytes": resident,
        "resident_per_byte": resident_rate,
        "peak_per_byte": max(resident_rate, line(weights, [float(p) for p in peaks])[1]),
        "call_s": call_s,
        "call_s_per_parameter": call_rate,
        "spread": median(p.p95_s / p.p50_s for s in found for p in s.profile.curve.points[:1]),
    }


def command() -> dict[str, float]:
    """A small web server that a user might bring: a Flask application behind Flask's own server."""
    starts, sizes, calls = [], [], []
    program = "from flask import Flask; a = Flask('a'); a.route('/')(lambda: 'ok'); a.run(port={})"
    for _ in range(REPEATS):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        began_s = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-c", program.format(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server:
            url = f"http://127.0.0.1:{port}/"
            while not answers(url):
                time.sleep(0.005)
            starts.append(time.monotonic() - began_s)
            for _ in range(100):
                call_s = time.monotonic()
                answers(url)
                calls.append(time.monotonic() - call_s)
            sizes.append(status_bytes(server.pid)["RssAnon"])
            server.kill()
    none = dict.fromkeys((field.name for field in fields(RuntimeConstants)), 0.0)
    return {
        **none,
        "load_s": median(starts),
        "base_bytes": median(sizes),
        "call_s": median(calls),
        "spread": quantile(calls, 0.95) / median(calls),
    }


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.read())
    except OSError:
        return False


def show(name: str, values: dict[str, float]) -> None:
    print(f'    "{name}": RuntimeConstants(')
    for key, value in values.items():
        print(f"        {key}={round(value) if key.endswith('_bytes') else float(f'{value:.3g}')},")
    print("    ),")


def main() -> None:
    bench = Bench(
        cpus=float(psutil.cpu_count() or 1),
        memory_bytes=psutil.virtual_memory().total,
        budget=CurveBudget(total_s=1.0, point_s=0.3),
    )
    print(f'MACHINE = "{bench.machine}"\nMEASURED = "{time.strftime("%Y-%m-%d", time.gmtime())}"\n')
    for runtime, make in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            found = samples(make(Path(folder)), bench)
        show(runtime, constants(found))
    show("command", command())


if __name__ == "__main__":
    main()
