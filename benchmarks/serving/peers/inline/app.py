"""A bound, not a peer: one process that parses, runs and answers in line, with nothing that a product needs.

No routes, no checks, no errors, no deadlines, no second model: what is left of a Python process when it only does this.
"""

import asyncio
from typing import cast

import httptools
import msgspec
import numpy as np
import orjson
import uvloop

from benchmarks.serving.peers.session import PORT, Model

model = Model()


class Tensor(msgspec.Struct):
    shape: list[int]
    data: list[float]


class Body(msgspec.Struct):
    inputs: list[Tensor]


decode = msgspec.json.Decoder(Body).decode


class Http(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass
        self.parser = httptools.HttpRequestParser(self)
        self.parts: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        tensor = decode(b"".join(self.parts)).inputs[0]
        self.parts.clear()
        y = model(np.array(tensor.data, model.dtype).reshape(tensor.shape))
        content = orjson.dumps(model.reply(y, y.ravel()), option=orjson.OPT_SERIALIZE_NUMPY)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content)
        self.transport.write(head + content)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Http, "127.0.0.1", PORT)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
