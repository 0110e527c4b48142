"""Plain FastAPI and ONNX Runtime, two ways: as most people write it, and as lean as FastAPI allows."""

import os

import numpy as np
import onnxruntime as ort
import orjson
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
INPUT, OUTPUT = session.get_inputs()[0].name, session.get_outputs()[0].name
app = FastAPI()


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Body(BaseModel):
    inputs: list[Tensor]


def predict(shape: list[int], data: list[float]) -> np.ndarray:
    result: np.ndarray = session.run([OUTPUT], {INPUT: np.array(data, np.float32).reshape(shape)})[0]
    return result


@app.post("/ordinary")
def ordinary(body: Body) -> dict[str, object]:
    y = predict(body.inputs[0].shape, body.inputs[0].data)
    return {"outputs": [{"name": OUTPUT, "shape": list(y.shape), "datatype": "FP32", "data": y.ravel().tolist()}]}


@app.post("/lean")
async def lean(request: Request) -> Response:
    tensor = orjson.loads(await request.body())["inputs"][0]
    y = predict(tensor["shape"], tensor["data"])
    out = {"outputs": [{"name": OUTPUT, "shape": list(y.shape), "datatype": "FP32", "data": y.ravel()}]}
    return Response(orjson.dumps(out, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


@app.get("/healthz")
def healthz() -> str:
    return "ok"
