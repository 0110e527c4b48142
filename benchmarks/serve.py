"""Requests/s, requests per core-second, p50 and p99 of a small ONNX model, beside plain FastAPI + ONNX Runtime.

Same machine, same run, same body (v2 JSON, 64 floats), windows alternating, medians of three; FastAPI gets as many
worker processes as Sizewise uses (gateway and replica: two). Beside both: the same model inside the gateway
(`isolation: inline`), and one process that does everything in its protocol callbacks and checks nothing. The load
generator shares the machine. The quick check of `make bench`; `python -m benchmarks.serving` measures every peer.

Usage: python -m benchmarks.serve [--seconds 5] [--repeats 3]
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx

from benchmarks.common import Sizewise, Window, free_port, median_window, row_of, save, server, tree, wrk
from benchmarks.serving.environments import environment
from sizewise.demo.onnx_files import write_random_mlp

CONNECTIONS = (1, 16, 64)
ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        folder = Path(scratch)
        model = folder / "small.onnx"
        write_random_mlp(model, (64, 10), seed=7)
        row = [round(0.01 * i, 2) for i in range(64)]
        body = folder / "body.json"
        tensor = {"name": "x", "shape": [1, 64], "datatype": "FP32", "data": row}
        body.write_text(json.dumps({"inputs": [tensor]}))

        scaling = {"min_replicas": 1, "max_replicas": 1}
        entry = {"uri": str(model), "scaling": scaling}
        ours = stack.enter_context(Sizewise({"models": {"small": entry}}))
        inside = Sizewise({"models": {"small": {**entry, "isolation": "inline"}}})
        inside.cli("profile", str(model))
        stack.enter_context(inside)
        bare_port = free_port()
        bare = [str(environment("inline").python), "-m", "benchmarks.serving.peers.inline.app"]
        bare_url = f"http://127.0.0.1:{bare_port}/"
        bare_environment = {"MODEL": str(model), "PORT": str(bare_port)}
        bare_pid = stack.enter_context(server(bare, None, bare_environment, ROOT, port=bare_port))
        port = free_port()
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "benchmarks.serving.peers.fastapi.app:app",
            "--port",
            str(port),
            "--workers",
            "2",
        ]
        command += ["--no-access-log", "--log-level", "error"]
        base = f"http://127.0.0.1:{port}"
        pid = stack.enter_context(server(command, f"{base}/healthz", {"MODEL": str(model)}, ROOT))
        rivals = {
            "sizewise": (f"{ours.url}/v2/models/small/infer", ours.pids("gateway", "replica")),
            "sizewise inline": (f"{inside.url}/v2/models/small/infer", inside.pids("gateway", "replica")),
            "in-line protocol": (bare_url, tree(bare_pid)),
            "fastapi lean, 2 workers": (f"{base}/lean", tree(pid)),
            "fastapi ordinary, 2 workers": (f"{base}/ordinary", tree(pid)),
        }
        check_answers({label: url for label, (url, _) in rivals.items()}, body.read_bytes())
        windows: dict[tuple[str, int], list[Window]] = defaultdict(list)
        for connections in CONNECTIONS:
            for repeat in range(options.repeats + 1):
                for label, (url, pids) in rivals.items():
                    seconds = options.seconds if repeat else 1.0
                    window = wrk(url, body, connections=connections, seconds=seconds, pids=pids)
                    if repeat:  # the first round warms up
                        windows[label, connections].append(window)
        rows = [row_of(label, median_window(found), connections=c) for (label, c), found in windows.items()]
        note = f"medians of {options.repeats} windows of {options.seconds:g} s"
        save("serve_small_onnx", rows, note=note, figures=figures_of(rows))


def figures_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Ratios to lean FastAPI in the same run; a machine's mood moves both."""
    found = {(row["server"], row["connections"]): row for row in rows}
    ours, lean = found["sizewise", 64], found["fastapi lean, 2 workers", 64]
    single, lean_single = found["sizewise", 1], found["fastapi lean, 2 workers", 1]
    inside, bare = found["sizewise inline", 64], found["in-line protocol", 64]
    return {
        "per_s_at_64": round(ours["requests_per_s"]),
        "per_s_to_inline_protocol_at_64": round(ours["requests_per_s"] / bare["requests_per_s"], 2),
        "inline_per_core_s_to_process_at_64": round(inside["requests_per_core_s"] / ours["requests_per_core_s"], 2),
        "cpu_us_at_64": round(1e6 / ours["requests_per_core_s"], 1),
        "per_core_s_to_lean_at_64": round(ours["requests_per_core_s"] / lean["requests_per_core_s"], 2),
        "per_s_to_lean_at_64": round(ours["requests_per_s"] / lean["requests_per_s"], 2),
        "p99_to_lean_at_64": round(ours["p99_ms"] / lean["p99_ms"], 2),
        "p50_to_lean_at_1": round(single["p50_ms"] / lean_single["p50_ms"], 2),
        "errors": ours["errors"] + single["errors"],
    }


def check_answers(urls: dict[str, str], body: bytes) -> None:
    """All servers must give the same numbers before any is timed."""
    answers = {}
    for label, url in urls.items():
        answer = httpx.post(url, content=body, headers={"content-type": "application/json"}, timeout=30)
        answer.raise_for_status()
        answers[label] = answer.json()["outputs"][0]["data"]
    first = next(iter(answers.values()))
    for label, data in answers.items():
        assert len(data) == len(first), label
        assert all(abs(a - b) < 1e-5 for a, b in zip(data, first, strict=True)), label


if __name__ == "__main__":
    main()
