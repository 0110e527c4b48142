"""From an order to load a cold model until it is ready and until its first answer, for a 10 KB and a 1 GB ONNX model.

The decision to start is made on the way, so both are upper bounds of what follows it. Beside them, in the same run, the
bare load: a new interpreter that has imported onnxruntime and creates the session and answers once (the time of the
import is not counted). Page cache warm.

Usage: python -m benchmarks.start [--repeats 5]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks.common import Sizewise, save
from sizewise.demo.onnx_files import write_random_mlp

LARGE = (1024, 8192, 8192, 8192, 8192, 7168, 1000)
"""1.1 GB of weights."""
MODELS = {"small": (64, 32, 10), "large": LARGE}

REST_S = 1.0
"""The controller rests after it has seen to an unload, for three times as long as that took: no part of a start."""

BARE = """
import sys, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
started = time.perf_counter()
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
created = time.perf_counter()
tensor = session.get_inputs()[0]
session.run(None, {tensor.name: np.zeros((1, tensor.shape[1]), np.float32)})
print(created - started, time.perf_counter() - started)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, sizes in MODELS.items():
            folder = Path(scratch) / name
            folder.mkdir()
            path = folder / f"{name}.onnx"
            write_random_mlp(path, sizes, seed=7, external=name == "large")
            bare, ready, answered = [], [], []
            with Sizewise({"models": {name: {"uri": str(path)}}}) as ours:
                for _ in range(options.repeats):
                    bare.append(bare_s(path)[1])
                    first, reported = cold_start_s(ours, name, sizes[0])
                    answered.append(first)
                    ready.append(reported)
            rows.append(
                {
                    "model": name,
                    "bytes": sum(f.stat().st_size for f in folder.iterdir()),
                    "bare_load_s": round(statistics.median(bare), 4),
                    "order_to_ready_s": round(statistics.median(ready), 4),
                    "order_to_answer_s": round(statistics.median(answered), 4),
                    "ready_to_bare": round(statistics.median(ready) / statistics.median(bare), 2),
                }
            )
    figures = {f"{row['model']}_ready_to_bare": float(str(row["ready_to_bare"])) for row in rows}
    figures["small_answer_ms"] = round(1e3 * float(str(rows[0]["order_to_answer_s"])), 1)
    save(
        "start_replica",
        rows,
        note=f"medians of {options.repeats}; from the request to load it (v2 repository), page cache warm",
        figures=figures,
    )


def bare_s(path: Path) -> tuple[float, float]:
    """Seconds until a plain session is created, and until it has answered once."""
    done = subprocess.run([sys.executable, "-c", BARE, str(path)], capture_output=True, text=True, check=True)
    created_s, answered_s = map(float, done.stdout.split())
    return created_s, answered_s


def cold_start_s(ours: Sizewise, name: str, width: int) -> tuple[float, float]:
    """Seconds from asking for the load to the first answer, and of that until a replica is ready."""
    repository = f"{ours.url}/v2/repository/models/{name}"
    body = {"inputs": [{"name": "x", "shape": [1, width], "datatype": "FP32", "data": [0.0] * width}]}
    with httpx.Client(timeout=120) as client:
        client.post(f"{repository}/unload").raise_for_status()
        time.sleep(REST_S)
        started = time.perf_counter()
        client.post(f"{repository}/load").raise_for_status()
        ready_s = time.perf_counter() - started
        client.post(f"{ours.url}/v2/models/{name}/infer", json=body).raise_for_status()
        return time.perf_counter() - started, ready_s


if __name__ == "__main__":
    main()
