"""A FastAPI app: a typed prediction, an echo of whatever comes, and events as they happen."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel

app = FastAPI()
left = asyncio.Event()
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Rows(BaseModel):
    rows: list[list[float]]


@app.post("/predict")
async def predict(body: Rows) -> dict[str, Any]:
    return {"sums": [sum(row) for row in body.rows]}


@app.get("/events")
async def events(count: int, every_s: float) -> StreamingResponse:
    async def produce() -> AsyncIterator[str]:
        try:
            for number in range(count):
                yield f"data: {number}\n\n"
                await asyncio.sleep(every_s)
        except asyncio.CancelledError:
            left.set()
            raise

    return StreamingResponse(produce(), media_type="text/event-stream")


@app.get("/left")
async def client_left() -> dict[str, bool]:
    """Answers once a client has left in the middle of its events."""
    await left.wait()
    return {"left": True}


@app.get("/moved")
async def moved() -> RedirectResponse:
    return RedirectResponse("/echo/here")


@app.get("/teapot")
async def teapot() -> Response:
    return Response("short and stout", status_code=418, headers={"X-Kind": "teapot"}, media_type="text/plain")


@app.api_route("/echo/{rest:path}", methods=METHODS)
async def echo(request: Request, rest: str) -> dict[str, Any]:
    body = await request.body()
    return {
        "method": request.method,
        "path": request.scope["raw_path"].decode(),
        "query": request.scope["query_string"].decode(),
        "headers": [[name.decode(), value.decode("latin-1")] for name, value in request.headers.raw],
        "body": body.decode("latin-1"),
    }
