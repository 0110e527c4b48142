"""Run by the interpreter of .venv-kserve: what KServe's own REST client makes of the address in argv. Prints JSON.

It shares no environment with the tests, so it imports nothing of theirs.
"""

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

ROWS = [[0.25 * column + row for column in range(16)] for row in range(3)]


async def v1(url: str) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    found = {
        "live": await client.is_server_live(url),
        "ready": await client.is_model_ready(url, "mlp"),
        "mlp": await client.infer(url, {"instances": ROWS}, model_name="mlp"),
        "forest": await client.infer(url, {"instances": [[5.1, 3.5, 1.4, 0.2]]}, model_name="forest"),
        "refused": await refused(client.infer(url, {"instances": [[1.0]]}, model_name="mlp")),
        "unknown": await refused(client.is_model_ready(url, "none")),
    }
    await client.close()
    return found


async def v2(url: str) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    found = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model": await client.is_model_ready(url, "mlp"),
        "no model": await client.is_model_ready(url, "none"),
        "JSON": shown(await client.infer(url, request(binary=False), model_name="mlp")),
        "binary": shown(await client.infer(url, request(binary=True), model_name="mlp")),
        "dict": shown(await client.infer(url, request(binary=False).to_rest()[0], model_name="mlp")),
        "refused": await refused(client.infer(url, {"inputs": []}, model_name="mlp")),
    }
    await client.close()
    return found


def request(*, binary: bool) -> InferRequest:
    values = np.array(ROWS, np.float32)
    tensor = InferInput("x", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values, binary_data=binary)
    asked = [RequestedOutput("y", parameters={"binary_data": True})] if binary else None
    return InferRequest("mlp", [tensor], request_id="k-1", request_outputs=asked)


def shown(answer: Any) -> dict[str, Any]:
    (output,) = answer.outputs
    return {
        "id": answer.id,
        "model": answer.model_name,
        "name": output.name,
        "datatype": output.datatype,
        "values": output.as_numpy().tolist(),
    }


async def refused(call: Any) -> str:
    try:
        await call
    except httpx.HTTPStatusError as error:
        return str(error)
    return "no error"


async def main(url: str) -> None:
    json.dump({"v1": await v1(url), "v2": await v2(url)}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
