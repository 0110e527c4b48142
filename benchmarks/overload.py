"""A compute-bound model offered three times what it can do: goodput, latency of what is accepted, memory.

Capacity is measured in the same run by a closed loop over eight connections; the overload is open-loop Poisson
traffic from `sizewise bench`. Goodput is answers within the SLO per second of the window.

Usage: python -m benchmarks.overload [--seconds 60]
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.common import Sizewise, pss_bytes, save

SLO_MS = 250
OFFERED = 3.0
WIDTH = 128
STEPS = 48
"""Each multiplies two 128 x 128 matrices for each row: about 5 ms a row in all, in batches too."""
ROLES = ("gateway", "replica")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "heavy.onnx"
        write_heavy(path)
        model = {"uri": str(path), "slo": {"p99_ms": SLO_MS}, "scaling": {"min_replicas": 1, "max_replicas": 1}}
        with Sizewise({"models": {"heavy": model}}) as ours:
            closed = window(ours, "--connections", "8", "--seconds", "10")
            capacity = closed["answered_per_s"]
            before = memory(ours)
            rate = f"{OFFERED * capacity:.0f}"
            opened = window(ours, "--rate", rate, "--seconds", f"{seconds:g}", "--warmup-s", "5")
            after = memory(ours)
    goodput = opened["attainment"] * opened["sent"] / opened["seconds"]
    figures = {
        "goodput_to_capacity": round(goodput / capacity, 3),
        "p99_to_slo": round(opened["latency"]["p99_s"] * 1e3 / SLO_MS, 2),
        "more_mib": round((sum(after.values()) - sum(before.values())) / 2**20, 1),
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
        "before_mib": {role: round(size / 2**20, 1) for role, size in before.items()},
        "after_mib": {role: round(size / 2**20, 1) for role, size in after.items()},
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


def window(ours: Sizewise, *options: str) -> dict[str, Any]:
    report = json.loads(ours.bench("heavy", *options))
    found: dict[str, Any] = report["levels"][-1]["window"]
    return found


def memory(ours: Sizewise) -> dict[str, int]:
    return {role: sum(map(pss_bytes, ours.pids(role))) for role in ROLES}


if __name__ == "__main__":
    main()
