"""What load-ready forms gain and cost: against a default session, and against a user's best effort.

The best effort is the optimized graph saved ahead with external weights, opened with ONNX Runtime's defaults. All run
one thread, in one process, taking turns call by call, so that a noisy moment meets all of them. Then, for the 1.1 GB
model: what a second process takes, and how long a start takes through a running Sizewise.

Usage: python -m benchmarks.forms [--only NAME]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.common import Sizewise, save
from benchmarks.shapes import write_bert_base, write_int8, write_resnet50
from benchmarks.start import LARGE, bare_s, cold_start_s
from sizewise.core.forms import FORM_FROM_BYTES, MAPPED, PACKED, faster
from sizewise.core.profiles import BatchPoint, LatencyCurve
from sizewise.core.units import MIB
from sizewise.demo.onnx_files import write_random_mlp
from sizewise.formats import inspect
from sizewise.runtimes import ModelFiles, get_runtime
from sizewise.runtimes.base import FormFiles, FormRuntime
from sizewise.runtimes.forms import make
from sizewise.runtimes.onnx_form import ENTRY
from sizewise.runtimes.synthetic import synthetic

POINT_S = 1.0
LEAST_CALLS = 5
AT_SPEED_S = 3.0
BEST_BATCH_GAIN = 1.10
"""A larger batch is the best one when it gives this much more rows a second, as decisions have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    name: str
    write: Callable[[Path], None]
    batches: tuple[int, ...] = (1, 8, 32)


SHAPES = (
    Shape(name="mlp-29mb", write=lambda path: write_random_mlp(path, (512, 2048, 2048, 1024, 10), seed=7)),
    Shape(name="mlp-1gb", write=lambda path: write_random_mlp(path, LARGE, seed=7, external=True)),
    Shape(name="resnet50", write=write_resnet50, batches=(1, 4)),
    Shape(name="bert-base", write=write_bert_base, batches=(1, 4)),
    Shape(name="int8", write=write_int8),
)

HOLDER = """
import sys
from pathlib import Path
from sizewise.runtimes import ModelFiles, get_runtime
from sizewise.runtimes.base import FormFiles
from sizewise.runtimes.synthetic import synthetic
folder, form, entry, second = sys.argv[1:]
files = ModelFiles(path=Path(folder), entry="", form=FormFiles(name="packed", path=Path(form), entry=entry))
model = get_runtime("onnx").load_form(files, second=second == "1")
model.run(synthetic(model.signature.inputs, 32), ())
from sizewise.system.memory import give_back_memory
give_back_memory()
print("ready", flush=True)
sys.stdin.read()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one model by name; writes no result file")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for shape in SHAPES:
            if options.only in {None, shape.name}:
                folder = Path(scratch) / shape.name
                folder.mkdir()
                path = folder / "model.onnx"
                shape.write(path)
                measured = steady(shape, path)
                rows += measured
                figure = f"{shape.name}_steady_to_default".replace("-", "_")
                figures[figure] = max(row["ours_to_default"] for row in measured)
                if shape.name == "mlp-1gb":
                    rows += [second_replica(path, second=second) for second in (False, True)]
                    figures["second_replica_private_share"] = max(r["private_share"] for r in rows[-2:])
                    rows.append(start(path, large=True))
                    figures["large_answer_to_plain"] = rows[-1]["answer_to_plain"]
                    figures["large_batch_32_to_plain"] = rows[-1]["batch_32_to_plain"]
        if options.only in {None, "small"}:
            path = Path(scratch) / "small.onnx"
            write_random_mlp(path, (64, 32, 10), seed=7)
            rows.append(start(path, large=False))
            figures["small_answer_ms"] = rows[-1]["order_to_answer_ms"]
    if options.only:
        print(json.dumps(rows, indent=1), figures)
        return
    note = "one thread; ratios of medians of calls that took turns; below 1 is faster; page cache warm"
    save("forms", rows, note=note, figures=figures)


def steady(shape: Shape, path: Path) -> list[dict[str, Any]]:
    """Latency of each session at each batch, to a default session; ``ours`` is the stage that a profile chooses."""
    facts = inspect(path)
    files = ModelFiles(path=path.parent, entry=path.name, inputs=facts.inputs, outputs=facts.outputs)
    began_s = time.perf_counter()
    folder = path.parent / PACKED
    folder.mkdir()
    make(PACKED, files, folder)
    make_s = time.perf_counter() - began_s
    form = FormFiles(name=PACKED, path=folder, entry=ENTRY)
    ours = ModelFiles(path=path.parent, entry=path.name, inputs=facts.inputs, outputs=facts.outputs, form=form)
    runtime = get_runtime("onnx")
    assert isinstance(runtime, FormRuntime)
    mapped = path.parent / MAPPED
    mapped.mkdir()
    make(MAPPED, files, mapped)
    opened: dict[str, Any] = {}
    open_s: dict[str, float] = {}
    ways: dict[str, Callable[[], Any]] = {
        "default": lambda: bare(path),
        "best_effort": lambda: bare(mapped / ENTRY, optimize=False),
        "first": lambda: runtime.load_form(ours, second=False).run,
        "second": lambda: runtime.load_form(ours, second=True).run,
    }
    for name, how in ways.items():
        began_s = time.perf_counter()
        opened[name] = how()
        open_s[name] = round(time.perf_counter() - began_s, 4)
    figures = [(batch, times(opened, synthetic(facts.inputs, batch))) for batch in shape.batches]
    best = best_batch([(batch, seconds["default"]) for batch, seconds in figures])
    curves = {name: curve_of([(batch, seconds[name]) for batch, seconds in figures]) for name in ("first", "second")}
    chosen = "second" if faster(curves["second"], curves["first"]) else "first"
    size = sum(file.stat().st_size for file in folder.iterdir())
    wide = facts.weights_bytes >= FORM_FROM_BYTES
    return [
        {
            "model": shape.name,
            "weights_mib": round(facts.weights_bytes / MIB),
            "form_to_weights": round(size / facts.weights_bytes, 2),
            "make_s": round(make_s, 1),
            "open_s": open_s,
            "batch": batch,
            "best_batch": batch == best,
            "default_ms": round(1e3 * seconds["default"], 2),
            **{f"{name}_to_default": round(seconds[name] / seconds["default"], 3) for name in opened},
            "ours": chosen,
            "ours_to_default": round(seconds[chosen] / seconds["default"], 3),
            "ours_to_best_effort": round(seconds[chosen] / seconds["best_effort"], 3),
        }
        for batch, seconds in figures
        if wide and batch in {1, best, shape.batches[-1]}
    ]


def bare(path: Path, *, optimize: bool = True) -> Callable[[Any, Any], Any]:
    """As anybody opens it: ONNX Runtime's defaults and one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs, _: session.run(None, inputs)


def times(opened: dict[str, Any], inputs: Any) -> dict[str, float]:
    """Median seconds of a call, by turns."""
    seconds: dict[str, list[float]] = {name: [] for name in opened}
    for run in opened.values():
        run(inputs, ())
    ends_s = time.perf_counter() + POINT_S * len(opened)
    while len(seconds["default"]) < LEAST_CALLS or time.perf_counter() < ends_s:
        for name, run in opened.items():
            began_s = time.perf_counter()
            run(inputs, ())
            seconds[name].append(time.perf_counter() - began_s)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def curve_of(points: list[tuple[int, float]]) -> LatencyCurve:
    return LatencyCurve(tuple(BatchPoint(batch=batch, p50_s=seconds, p95_s=seconds) for batch, seconds in points))


def best_batch(points: list[tuple[int, float]]) -> int:
    best, rate = points[0][0], points[0][0] / points[0][1]
    for batch, seconds in points[1:]:
        if batch / seconds >= BEST_BATCH_GAIN * rate:
            best, rate = batch, batch / seconds
    return best


def second_replica(path: Path, *, second: bool) -> dict[str, Any]:
    """What a second process takes that answers from the same form, in one of the stages."""
    form = path.parent / PACKED
    command = [sys.executable, "-c", HOLDER, str(path.parent), str(form), ENTRY, str(int(second))]
    holders = []
    try:
        for _ in range(2):
            holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            holders.append(holder)
            assert holder.stdout is not None
            holder.stdout.readline()
        weights = inspect(path).weights_bytes
        sizes = rollup(holders[1].pid)
        private = sizes["Private_Clean"] + sizes["Private_Dirty"]
        return {
            "model": "mlp-1gb",
            "stage": PACKED if second else MAPPED,
            "second_pss_mib": round(sizes["Pss"] / MIB),
            "second_private_mib": round(private / MIB),
            "private_share": round(private / weights, 4),
        }
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def rollup(pid: int) -> dict[str, int]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    lines = (line.split() for line in text.splitlines() if line.endswith(" kB"))
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines}


def start(path: Path, *, large: bool, repeats: int = 5) -> dict[str, Any]:
    """From the order to load to the first answer, through a running Sizewise; beside it the creation of plain sessions.

    ``plain`` is what everybody has who does nothing about it: one file, weights packed as it is opened.
    ``external`` has its weights in a file of their own, which costs it no copy.
    """
    width = LARGE[0] if large else 64
    single = path.with_name("single.onnx")
    if large:
        write_random_mlp(single, LARGE, seed=7)
    ways = {"plain": single, "external": path} if large else {"plain": path}
    created: dict[str, list[float]] = {name: [] for name in ways}
    answers, ready, shares = [], [], []
    plain = bare(path) if large else None  # made before anything is timed, so that it takes no core from anybody
    with Sizewise({"models": {"m": {"uri": str(path)}}}) as ours:
        cold_start_s(ours, "m", width)
        while large and not any((ours.state / "forms").glob(f"*/{PACKED}-*")):
            time.sleep(0.2)
        for _ in range(repeats):
            for name, file in ways.items():
                created[name].append(bare_s(file)[0])
            answer_s, ready_s = cold_start_s(ours, "m", width)
            answers.append(answer_s)
            ready.append(ready_s)
            if plain is not None:
                shares.append(at_speed(ours, width, plain))
    row = {
        "model": "mlp-1gb" if large else "mlp-10kb",
        "order_to_ready_ms": round(1e3 * statistics.median(ready), 1),
        "order_to_answer_ms": round(1e3 * statistics.median(answers), 1),
        **{f"{name}_creation_ms": round(1e3 * statistics.median(times_s), 1) for name, times_s in created.items()},
        "answer_to_plain": round(statistics.median(answers) / statistics.median(created["plain"]), 3),
    }
    return {**row, "batch_32_to_plain": round(statistics.median(shares), 3)} if large else row


def at_speed(ours: Sizewise, width: int, run: Callable[[Any, Any], Any]) -> float:
    """Throughput at batch 32 from 3 s after its first answer, to that of a plain session in this process, by turns."""
    time.sleep(AT_SPEED_S)
    x = np.random.default_rng(7).standard_normal((32, width), dtype=np.float32)
    tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "parameters": {"binary_data_size": x.nbytes}}
    text = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    served, direct = [], []
    with httpx.Client(timeout=60) as client:
        for _ in range(5):
            began_s = time.perf_counter()
            client.post(f"{ours.url}/v2/models/m/infer", content=text + x.tobytes(), headers=headers).raise_for_status()
            served.append(time.perf_counter() - began_s)
            began_s = time.perf_counter()
            run({"x": x}, ())
            direct.append(time.perf_counter() - began_s)
    return statistics.median(direct) / statistics.median(served)


if __name__ == "__main__":
    main()
