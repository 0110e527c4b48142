"""A 4 MB tensor in and out in binary form (identity model), beside a plain copy of it through two processes.

One connection, one request after the other, turns alternating; the client is the same plain socket for both and what
comes back is compared with what was sent.

Usage: python -m benchmarks.binary [--requests 40] [--repeats 5]
"""

import argparse
import contextlib
import json
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.common import Sizewise, cpu_s, free_port, save, server, tree

ELEMENTS = 1 << 20
HERE = Path(__file__).parent
SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    tensor = np.random.default_rng(SEED).normal(size=ELEMENTS).astype("<f4").tobytes()
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        path = Path(scratch) / "same.onnx"
        write_identity(path)
        scaling = {"min_replicas": 1, "max_replicas": 1}
        ours = stack.enter_context(Sizewise({"models": {"same": {"uri": str(path), "scaling": scaling}}}))
        port = free_port()
        relay = [sys.executable, str(HERE / "rivals" / "copy_relay.py"), str(port), str(len(tensor))]
        pid = stack.enter_context(server(relay, None, {}, HERE, port=port))
        ways = {
            "sizewise": (connected(ours.port), request_of(tensor), ours.pids("gateway", "replica")),
            "plain copy": (connected(port), tensor, tree(pid)),
        }
        seconds: dict[str, list[float]] = {label: [] for label in ways}
        cpu: dict[str, float] = dict.fromkeys(ways, 0.0)
        for repeat in range(options.repeats + 1):
            for label, (peer, message, pids) in ways.items():
                before_s = cpu_s(pids)
                times_s = [exchange_s(peer, message, tensor) for _ in range(options.requests)]
                if repeat:  # the first round warms up
                    seconds[label] += times_s
                    cpu[label] += cpu_s(pids) - before_s
    rows = [row_of(label, seconds[label], cpu[label], len(tensor)) for label in ways]
    ratio = round(float(rows[1]["p50_ms"]) / float(rows[0]["p50_ms"]), 2)
    save("binary", rows, note="one connection, identity model, tensor in and out", figures={"rate_to_copy": ratio})


def write_identity(path: Path) -> None:
    """A model that gives back its rows."""
    shape: list[str | int | None] = ["n", ELEMENTS]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def request_of(tensor: bytes) -> bytes:
    parameters = {"binary_data_size": len(tensor)}
    inputs = [{"name": "x", "shape": [1, ELEMENTS], "datatype": "FP32", "parameters": parameters}]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    lines = (
        "POST /v2/models/same/infer HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(head) + len(tensor)}",
        f"Inference-Header-Content-Length: {len(head)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + head + tensor


def connected(port: int) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port), timeout=30)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def exchange_s(peer: socket.socket, message: bytes, tensor: bytes) -> float:
    """Seconds from the first byte out to the last byte in; the answer ends with the tensor."""
    began_s = time.perf_counter()
    peer.sendall(message)
    buffer = memoryview(bytearray(len(tensor) + 4096))
    got, wanted = 0, len(tensor)
    while got < wanted:
        got += (count := peer.recv_into(buffer[got:]))
        assert count, "the connection was closed"
        if wanted == len(tensor) and bytes(buffer[:4]) == b"HTTP":
            wanted = whole_bytes(bytes(buffer[: min(got, 4096)])) or len(buffer)
    elapsed_s = time.perf_counter() - began_s
    assert buffer[got - len(tensor) : got] == tensor, "the answer is not what was sent"
    return elapsed_s


def whole_bytes(start: bytes) -> int | None:
    """Bytes of an answer whose head this begins with."""
    head, found, _ = start.partition(b"\r\n\r\n")
    if not found:
        return None
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return len(head) + 4 + int(fields[b"content-length"])


def row_of(label: str, seconds: list[float], cpu: float, size: int) -> dict[str, Any]:
    p50_s = statistics.median(seconds)
    p99_s = sorted(seconds)[int(0.99 * len(seconds))]
    return {
        "server": label,
        "p50_ms": round(p50_s * 1e3, 2),
        "p99_ms": round(p99_s * 1e3, 2),
        "in_and_out_mb_per_s": round(2 * size / p50_s / 1e6),
        "cpu_ms": round(cpu / len(seconds) * 1e3, 2),
    }


if __name__ == "__main__":
    main()
