"""What a small request costs the processes in front of the model, over plain HTTP, TLS and gRPC.

CPU of gateway and gRPC front, not latency: so a busy machine spoils little. ``python -m benchmarks.front``
"""

import asyncio
import contextlib
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import trustme

from benchmarks.common import Sizewise, cpu_s, save
from sizewise.demo.onnx_files import write_random_mlp
from sizewise.grpc_gateway.messages import ModelInferRequest, ModelInferResponse

CLIENTS = 8
WINDOW_S = 3.0
HANDSHAKES = 200
ROW = np.linspace(-1, 1, 16, dtype=np.float32)
BODY = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,16],"data":[%b]}]}' % b",".join(b"%.4f" % x for x in ROW)
POST = b"POST /v2/models/small/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


Ask = Callable[[], Awaitable[None]]


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_random_mlp(folder / "small.onnx", (16, 32, 3), seed=1)
        model = {"small": {"uri": str(folder / "small.onnx"), "scaling": {"min_replicas": 1}}}
        key, cert, authority = folder / "key.pem", folder / "cert.pem", trustme.CA()
        leaf = authority.issue_cert("localhost")
        leaf.private_key_pem.write_to_path(str(key))
        key.chmod(0o600)
        leaf.cert_chain_pems[0].write_to_path(str(cert))
        context = ssl.create_default_context()
        authority.configure_trust(context)
        rows = []
        with Sizewise({"models": model, "serving": {"grpc_port": 0}}) as plain:
            status = plain.status()
            rows.append(asyncio.run(measured("plain HTTP", plain, http(plain.port, None))))
            rows.append(asyncio.run(measured("gRPC", plain, grpc_calls(status["grpc_address"]))))
        with Sizewise({"models": model, "serving": {"tls": {"cert": str(cert), "key": str(key)}}}) as secure:
            rows.append(asyncio.run(measured("TLS", secure, http(secure.port, context))))
            rows.append(asyncio.run(handshakes(secure, context)))
    cost = {row["front"]: row["cpu_us"] for row in rows}
    figures = {"tls_to_plain": cost["TLS"] / cost["plain HTTP"], "grpc_to_plain": cost["gRPC"] / cost["plain HTTP"]}
    note = f"{CLIENTS} clients in a closed loop for {WINDOW_S:g} s; CPU of gateway and gRPC front for each request"
    save("front", rows, note=note, figures={name: round(value, 2) for name, value in figures.items()})


async def measured(label: str, server: Sizewise, clients: contextlib.AbstractAsyncContextManager[list[Ask]]) -> Any:
    """Requests of all clients, each after its last answer."""
    pids = server.pids("gateway", "grpc")
    async with clients as asks:
        for ask in asks:
            await ask()
        before_s, began_s = cpu_s(pids), time.perf_counter()
        counts = await asyncio.gather(*(closed_loop(ask, began_s + WINDOW_S) for ask in asks))
        took_s, used_s = time.perf_counter() - began_s, cpu_s(pids) - before_s
    requests = sum(counts)
    return {"front": label, "cpu_us": round(used_s / requests * 1e6, 1), "requests_per_s": round(requests / took_s)}


async def closed_loop(ask: Ask, until_s: float) -> int:
    count = 0
    while time.perf_counter() < until_s:
        await ask()
        count += 1
    return count


@contextlib.asynccontextmanager
async def http(port: int, context: ssl.SSLContext | None) -> Any:
    streams = [await connected(port, context) for _ in range(CLIENTS)]

    def asking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Ask:
        async def ask() -> None:
            writer.write(POST)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))

        return ask

    try:
        yield [asking(*stream) for stream in streams]
    finally:
        for _, writer in streams:
            writer.transport.abort()


async def connected(port: int, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = None if context is None else "localhost"
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)


@contextlib.asynccontextmanager
async def grpc_calls(address: str) -> Any:
    request = ModelInferRequest(model_name="small", raw_input_contents=[ROW.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=[1, 16])
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=ModelInferResponse.FromString,
        )

        async def ask() -> None:
            assert len((await call(request)).raw_output_contents[0]) == 12

        yield [ask] * CLIENTS


async def handshakes(server: Sizewise, context: ssl.SSLContext) -> Any:
    """New connections, each with a handshake of its own."""
    pids = server.pids("gateway")
    before_s, began_s = cpu_s(pids), time.perf_counter()
    for _ in range(HANDSHAKES):
        _, writer = await connected(server.port, context)
        writer.transport.abort()
    took_s, used_s = time.perf_counter() - began_s, cpu_s(pids) - before_s
    cpu_us = round(used_s / HANDSHAKES * 1e6, 1)
    return {"front": "TLS handshake", "cpu_us": cpu_us, "requests_per_s": round(HANDSHAKES / took_s)}


if __name__ == "__main__":
    main()
