"""Plain FastAPI and ONNX Runtime, two ways: as most people write it, and as lean as FastAPI allows."""

from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from benchmarks.serving.peers.session import Model, rows_of

model = Model()
app = FastAPI()


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Body(BaseModel):
    inputs: list[Tensor]


@app.post("/ordinary")
def ordinary(body: Body) -> dict[str, Any]:
    y = model(rows_of(body.model_dump()))
    return model.reply(y, y.ravel().tolist())


@app.post("/lean")
async def lean(request: Request) -> Response:
    y = model(rows_of(orjson.loads(await request.body())))
    content = orjson.dumps(model.reply(y, y.ravel()), option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(content, media_type="application/json")


@app.get("/healthz")
def healthz() -> str:
    return "ok"
