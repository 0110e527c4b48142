"""A compute-bound model offered three times what it can do: goodput, latency of what is accepted, memory.

Capacity is measured in the same run by a closed loop over eight connections, before and after, since a machine's mood
moves it; the overload is open-loop Poisson traffic from `sizewise bench`. Goodput is answers within the SLO per second
of the window. Memory is the PSS of gateway and replica, once a second while the overload lasts.

Usage: python -m benchmarks.overload [--seconds 60]
"""

import argparse
import contextlib
import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.common import Sizewise, pss_bytes, save

SLO_MS = 250
OFFERED = 3.0
WIDTH = 128
STEPS = 240
"""Each multiplies two 128 x 128 matrices for each row, 20 us on the machine of the results: about 5 ms a row in all, in
batches too."""
ROLES = ("gateway", "replica")
MEMORY_EVERY_S = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "heavy.onnx"
        write_heavy(path)
        model = {"uri": str(path), "slo": {"p99_ms": SLO_MS}, "scaling": {"min_replicas": 1, "max_replicas": 1}}
        with Sizewise({"models": {"heavy": model}}) as ours:
            first = capacity_per_s(ours)
            before_bytes = memory_bytes(ours.pids(*ROLES))
            rate = f"{OFFERED * first:.0f}"
            with watched(ours.pids(*ROLES)) as seen_bytes:
                opened = window(ours, "--rate", rate, "--seconds", f"{seconds:g}", "--warmup-s", "5")
            capacity = (first + capacity_per_s(ours)) / 2
    goodput = opened["attainment"] * opened["sent"] / opened["seconds"]
    figures = {
        "goodput_to_capacity": round(goodput / capacity, 3),
        "p99_to_slo": round(opened["latency"]["p99_s"] * 1e3 / SLO_MS, 2),
        "more_mib": round((max(seen_bytes) - before_bytes) / 2**20, 1),
    }
    row = {
        "capacity_per_s": round(capacity, 1),
        "offered_per_s": round(opened["offered_per_s"], 1),
        "answered_per_s": round(opened["answered_per_s"], 1),
        "goodput_per_s": round(goodput, 1),
        "p50_ms": round(opened["latency"]["p50_s"] * 1e3, 1),
        "p99_ms": round(opened["latency"]["p99_s"] * 1e3, 1),
        "slo_ms": SLO_MS,
        "statuses": opened["statuses"],
        "failures": opened["failures"],
        "before_mib": round(before_bytes / 2**20, 1),
        "most_mib": round(max(seen_bytes) / 2**20, 1),
        "generator_limit": opened["bottleneck"],
    }
    save("overload", [row], note=f"{seconds:g} s at {OFFERED:g} times capacity, one replica", figures=figures)


def write_heavy(path: Path) -> None:
    """Rows become matrices that are multiplied with themselves: no batch makes a row cheaper."""
    shape: list[str | int | None] = ["n", WIDTH]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [1], np.array([1 / WIDTH], np.float32))
    axes = [helper.make_tensor(f"axis{a}", TensorProto.INT64, [1], [a]) for a in (1, 2)]
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axis1"], ["row"]),
        helper.make_node("Unsqueeze", ["x", "axis2"], ["column"]),
        helper.make_node("MatMul", ["column", "row"], ["m0"]),
    ]
    for step in range(STEPS):
        nodes.append(helper.make_node("MatMul", [f"m{step}", f"m{step}"], [f"p{step}"]))
        nodes.append(helper.make_node("Mul", [f"p{step}", "scale"], [f"m{step + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"m{STEPS}"], ["y"], axes=[2], keepdims=0))
    graph = helper.make_graph(nodes, "heavy", values[:1], values[1:], [scale, *axes])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def capacity_per_s(ours: Sizewise) -> float:
    answered: float = window(ours, "--connections", "8", "--seconds", "10")["answered_per_s"]
    return answered


def window(ours: Sizewise, *options: str) -> dict[str, Any]:
    report = json.loads(ours.bench("heavy", *options))
    found: dict[str, Any] = report["levels"][-1]["window"]
    return found


@contextlib.contextmanager
def watched(pids: list[int]) -> Iterator[list[int]]:
    """Their memory again and again while the block runs."""
    seen_bytes = [memory_bytes(pids)]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(MEMORY_EVERY_S):
            seen_bytes.append(memory_bytes(pids))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen_bytes
    finally:
        over.set()
        watcher.join()


def memory_bytes(pids: list[int]) -> int:
    return sum(map(pss_bytes, pids))


if __name__ == "__main__":
    main()
