"""A thousand small models on one machine: memory, time to wake, latency under a load spread over all of them.

Twice: scaled to zero (every model asleep until it is asked), and kept awake (``min_replicas: 1``).

python -m benchmarks.density [--mixed] [--models 1000] [--seconds 30]

Aims: 1,000 ONNX models of 10 KB to 1 MB take at most 600 MiB in all (PSS of all our processes) and wake in 5 ms,
from the order to the first answer; mixed with scikit-learn and XGBoost 1 GiB and 20 ms; at 200 requests a second the
99th percentile is at most 50 ms.
"""

import argparse
import asyncio
import contextlib
import json
import math
import random
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvloop

from benchmarks.common import Sizewise, cpu_s, pss_bytes, save
from sizewise.demo.onnx_files import write_random_mlp
from sizewise.loadgen.request import Body, Target, target_of
from sizewise.loadgen.run import Load, run
from sizewise.loadgen.schedule import constant
from sizewise.loadgen.tally import Window
from sizewise.protocols.control import ControlClient, run_dir

SEED = 7
SMALLEST_BYTES, LARGEST_BYTES = 10_000, 1_000_000
INPUTS, OUTPUTS = 32, 8
LOAD_PER_S = 200
CONNECTIONS = 1000
"""As many as models: requests that wait for one that wakes must not hold back those for others."""
SETTLED_S = 60.0
MIB = 2**20
Models = dict[str, dict[str, str]]
"""What the spec says of each model, by name."""
JSON = {"Content-Type": "application/json"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixed", action="store_true", help="a third each of ONNX, scikit-learn and XGBoost")
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        models = write_models(Path(scratch), options.models, mixed=options.mixed)
        with Sizewise({"models": models}) as ours:
            waking = uvloop.run(measure_waking(ours, models))
            asleep_rows, asleep = uvloop.run(measure(ours, models, options.seconds))
        awake_models = {name: {**model, "scaling": {"min_replicas": 1}} for name, model in models.items()}
        with Sizewise({"models": awake_models}) as ours:
            all_awake_s = uvloop.run(at_home(ours, len(models)))
            awake_rows, awake = uvloop.run(measure(ours, models, options.seconds))
    rows = [{"case": "scaled to zero", **row} for row in asleep_rows]
    rows += [{"case": "kept awake", **row} for row in awake_rows]
    rows += [
        {"case": "asked while asleep", "role": "all", **waking},
        {"case": "scaled to zero", "role": "all", **asleep},
        {"case": "kept awake", "role": "all", **awake},
    ]
    figures = {**waking, "all_awake_s": all_awake_s}
    figures |= {f"to_zero_{name}": value for name, value in asleep.items()}
    figures |= {f"awake_{name}": value for name, value in awake.items()}
    note = f"{options.models} models of 10 KB to 1 MB, sizes log-uniform; PSS of all processes at the end of the load"
    save("density_mixed" if options.mixed else "density_onnx", rows, note=note, figures=figures)


async def measure_waking(ours: Sizewise, models: Models) -> dict[str, float]:
    """Every model asked once while it sleeps. Those count that woke in a host: the first hundred need none."""
    cold_s, wake_s = [], []
    async with httpx.AsyncClient(timeout=60) as http:
        for name in random.Random(SEED).sample(list(models), len(models)):
            began_s = time.monotonic()
            answer = await http.post(f"{ours.url}/v2/models/{name}/infer", content=body_of(models[name]), headers=JSON)
            answered_s = time.monotonic()
            assert answer.status_code == 200, answer.text
            found = [r for r in (await observed(ours))["replicas"] if r["model"] == name]
            if found and found[0]["host"]:
                cold_s.append(answered_s - began_s)
                wake_s.append(answered_s - found[0]["started_at_s"])
    return {
        "woken_in_hosts": float(len(wake_s)),
        "wake_p50_ms": quantile_ms(wake_s, 0.5),
        "wake_p99_ms": quantile_ms(wake_s, 0.99),
        "cold_p50_ms": quantile_ms(cold_s, 0.5),
        "cold_p99_ms": quantile_ms(cold_s, 0.99),
    }


async def measure(ours: Sizewise, models: Models, seconds: float) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The load spread over all models, then what every process holds."""
    pids = ours.pids()
    before_s, began_s = cpu_s(pids), time.monotonic()
    window = await load(ours.url, models, seconds)
    cores = (cpu_s(list({*pids, *ours.pids()})) - before_s) / (time.monotonic() - began_s)
    memory = pss_by_role(ours)
    rows: list[dict[str, Any]] = [
        {"role": role, "processes": count, "pss_mib": round(size / MIB, 1)} for role, (count, size) in memory.items()
    ]
    return rows, {
        "ready": float(sum(m["replicas"]["ready"] for m in ours.status()["models"])),
        "pss_mib": round(sum(size for _, size in memory.values()) / MIB, 1),
        "load_p50_ms": round((window.latency.p50_s or 0) * 1e3, 2),
        "load_p99_ms": round((window.latency.p99_s or 0) * 1e3, 2),
        "load_errors": float(window.errors),
        "cores": round(cores, 3),
    }


async def observed(ours: Sizewise) -> dict[str, Any]:
    client = await ControlClient.connect(run_dir(ours.state.resolve()) / "keeper.sock")
    try:
        return await client.call("observe")
    finally:
        client.close()


async def at_home(ours: Sizewise, count: int) -> float:
    """Seconds until all are ready, and nobody has a process of its own any more who may share one."""
    began_s = time.monotonic()
    while time.monotonic() < began_s + SETTLED_S:
        replicas = (await observed(ours))["replicas"]
        if sum(r["state"] == "ready" and bool(r["host"]) for r in replicas) == len(replicas) == count:
            break
        await asyncio.sleep(0.5)
    return round(time.monotonic() - began_s, 2)


def pss_by_role(ours: Sizewise) -> dict[str, tuple[int, int]]:
    counts, sizes = Counter[str](), Counter[str]()
    for process in ours.status()["processes"]:
        with contextlib.suppress(OSError):  # it has ended since
            sizes[process["role"]] += pss_bytes(process["pid"])
            counts[process["role"]] += 1
    return {role: (counts[role], sizes[role]) for role in sorted(counts)}


async def load(url: str, models: Models, seconds: float) -> Window:
    """Open loop, every model in turn."""
    targets = [
        target_of(f"{url}/v2/models/{name}/infer", [Body(content=body_of(model), headers=JSON)])
        for name, model in models.items()
    ]
    first = targets[0]
    target = Target(
        url=url,
        host=first.host,
        port=first.port,
        tls=None,
        bodies=(),
        headers={},
        requests=tuple(request for each in targets for request in each.requests),
    )
    return await run(target, Load(connections=CONNECTIONS, seconds=seconds, schedule=constant(LOAD_PER_S, seconds)))


def quantile_ms(values_s: list[float], share: float) -> float:
    ordered = sorted(values_s) or [math.nan]
    if share == 0.5:
        return round(statistics.median(ordered) * 1e3, 2)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3, 2)


def body_of(model: dict[str, str]) -> bytes:
    """One row; what is not an ONNX file does not name its input."""
    name = "x" if model["uri"].endswith(".onnx") else "input"
    tensor = {"name": name, "datatype": "FP32", "shape": [1, INPUTS], "data": [0.5] * INPUTS}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def write_models(folder: Path, count: int, *, mixed: bool) -> Models:
    """[-1, 32] to a few outputs; sizes spread evenly over the logarithm of the bytes."""
    rng = random.Random(SEED)
    models: Models = {}
    for i in range(count):
        size = math.exp(rng.uniform(math.log(SMALLEST_BYTES), math.log(LARGEST_BYTES)))
        kind = ("onnx", "sklearn", "xgboost")[i % 3] if mixed else "onnx"
        path = folder / f"m{i:04}.{ {'onnx': 'onnx', 'sklearn': 'skops', 'xgboost': 'ubj'}[kind] }"
        WRITERS[kind](path, int(size), i)
        models[f"m{i:04}"] = {"uri": str(path)}
    return models


def write_onnx(path: Path, size: int, seed: int) -> None:
    write_random_mlp(path, (INPUTS, max(4, size // (4 * (INPUTS + OUTPUTS + 1))), OUTPUTS), seed=seed)


def write_sklearn(path: Path, size: int, seed: int) -> None:
    import skops.io
    from sklearn.ensemble import RandomForestClassifier

    rows, labels = _data(seed)
    trees = max(1, size // 30_000)
    skops.io.dump(RandomForestClassifier(n_estimators=trees, random_state=seed, n_jobs=1).fit(rows, labels), path)


def write_xgboost(path: Path, size: int, seed: int) -> None:
    import xgboost

    rows, labels = _data(seed)
    trees = max(1, size // 3_000)
    params = {"objective": "binary:logistic", "max_depth": 5, "seed": seed, "nthread": 1}
    xgboost.train(params, xgboost.DMatrix(rows, labels), num_boost_round=trees).save_model(path)


def _data(seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((200, INPUTS), dtype=np.float32)
    return rows, (rows[:, :4].sum(axis=1) + rng.standard_normal(200) > 0).astype(np.int64)


WRITERS = {"onnx": write_onnx, "sklearn": write_sklearn, "xgboost": write_xgboost}

if __name__ == "__main__":
    main()
