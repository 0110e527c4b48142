"""One process that does it all in its protocol callbacks, and checks nothing: the bound for one Python process.

Usage: python inline_protocol.py PORT, with MODEL in the environment
"""

import asyncio
import os
import sys

import httptools
import numpy as np
import onnxruntime as ort
import orjson
import uvloop

options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
INPUT, OUTPUT = session.get_inputs()[0].name, session.get_outputs()[0].name


class Protocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.body = b""

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        text = b"{}"
        if self.body:
            tensor = orjson.loads(self.body)["inputs"][0]
            x = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
            y = session.run([OUTPUT], {INPUT: x})[0]
            out = {"outputs": [{"name": OUTPUT, "shape": list(y.shape), "datatype": "FP32", "data": y.ravel()}]}
            text = orjson.dumps(out, option=orjson.OPT_SERIALIZE_NUMPY)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text)
        self.transport.write(head + text)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


uvloop.run(main())
