"""Memory of 1,000 idle keep-alive connections: what the gateway's share of memory grows by when they have been used.

Each connection carries one request and then stays. PSS before and after, of the gateway alone.

Usage: python -m benchmarks.connections [--connections 1000]
"""

import argparse
import json
import socket
import tempfile
import time
from pathlib import Path

from benchmarks.common import Sizewise, pss_bytes, save
from sizewise.demo.onnx_files import write_random_mlp

SETTLE_S = 3.0
"""The gateway looks after its connections once a second."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1000)
    count = parser.parse_args().connections
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "small.onnx"
        write_random_mlp(path, (64, 10), seed=7)
        scaling = {"min_replicas": 1, "max_replicas": 1}
        with Sizewise({"models": {"small": {"uri": str(path), "scaling": scaling}}}) as ours:
            (gateway,) = ours.pids("gateway")
            for _ in range(50):
                used(ours.port).close()
            time.sleep(SETTLE_S)
            before_bytes = pss_bytes(gateway)
            kept = [used(ours.port) for _ in range(count)]
            time.sleep(SETTLE_S)
            after_bytes = pss_bytes(gateway)
            for peer in kept:
                ask(peer)  # they still live
                peer.close()
    mib = round((after_bytes - before_bytes) / 2**20, 2)
    row = {"connections": count, "before_mib": round(before_bytes / 2**20, 1), "more_mib": mib}
    save("idle_connections", [row], note="PSS of the gateway", figures={"more_mib": mib})


def used(port: int) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", port), timeout=10)
    ask(peer)
    return peer


def ask(peer: socket.socket) -> None:
    tensor = {"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [0.5] * 64}
    body = json.dumps({"inputs": [tensor]}).encode()
    head = b"POST /v2/models/small/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    peer.sendall(head % len(body) + body)
    assert peer.recv(65536).startswith(b"HTTP/1.1 200")


if __name__ == "__main__":
    main()
