"""Open-loop load: each request leaves at its own time, whether or not earlier ones were answered."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

import httpx
import orjson

from sizewise.demo.models import ATLAS_WIDTH, DemoModel, dataset
from sizewise.demo.traffic import Arrival

VARIANTS = 32
"""Bodies made ahead for each model, so that making them costs nothing during the run."""

DATA = {
    "digits": ("digits", "x", "FP32"),
    "iris": ("iris", "input", "FP64"),
    "wine": ("wine", "input", "FP64"),
    "progression": ("diabetes", "input", "FP64"),
    "cancer": ("cancer", "input", "FP32"),
    "cellar": ("wine", "input", "FP32"),
    "diabetes": ("diabetes", "input", "FP64"),
    "outliers": ("cancer", "input", "FP64"),
    "lookup": ("iris", "input", "FP64"),
}
"""Data set, input name and datatype of the models that were trained on something."""
WIDTHS = {
    "encoder": ("x", 512),
    "tagger": ("x", 512),
    "ranker": ("x", 512),
    "vision": ("x", 512),
    "atlas": ("query", ATLAS_WIDTH),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One request as its client saw it; status 0 when the connection failed."""

    model: str
    at_s: float
    latency_s: float
    status: int


@dataclass(frozen=True, slots=True)
class Call:
    path: str
    body: bytes


def calls_of(models: tuple[DemoModel, ...], seed: int) -> dict[str, list[Call]]:
    """Ready-made requests with real rows (random ones for untrained models)."""
    return {model.name: [_call(model, random.Random(f"{seed}:{i}")) for i in range(VARIANTS)] for model in models}  # noqa: S311


def _call(model: DemoModel, rng: random.Random) -> Call:
    if model.command:
        rows = dataset("iris")[0]
        return Call(f"/models/{model.name}/predict", orjson.dumps({"rows": [rows[rng.randrange(len(rows))].tolist()]}))
    if model.name in DATA:
        name, tensor, datatype = DATA[model.name]
        features = dataset(name)[0]
        row = features[rng.randrange(len(features))].tolist()
    else:
        (tensor, width), datatype = WIDTHS[model.name], "FP32"
        row = [round(rng.uniform(-1, 1), 4) for _ in range(width)]
    body = {"inputs": [{"name": tensor, "datatype": datatype, "shape": [1, len(row)], "data": row}]}
    return Call(f"/v2/models/{model.name}/infer", orjson.dumps(body))


async def replay(
    arrivals: list[Arrival], calls: dict[str, list[Call]], *, url: str, done: Callable[[Outcome], None]
) -> None:
    """Send ``arrivals`` at their times; ``done`` is called with each outcome. Ends when all are answered."""
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=64)
    clock = asyncio.get_running_loop().time
    started_s = clock()
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=90.0) as client, asyncio.TaskGroup() as group:
        for i, arrival in enumerate(arrivals):
            delay_s = started_s + arrival.at_s - clock()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            choices = calls[arrival.model]
            group.create_task(_send(client, arrival, choices[i % len(choices)], done=done))


async def _send(client: httpx.AsyncClient, arrival: Arrival, call: Call, *, done: Callable[[Outcome], None]) -> None:
    clock = asyncio.get_running_loop().time
    sent_s = clock()
    try:
        response = await client.post(call.path, content=call.body, headers={"content-type": "application/json"})
        status = response.status_code
    except httpx.HTTPError:
        status = 0
    done(Outcome(model=arrival.model, at_s=arrival.at_s, latency_s=clock() - sent_s, status=status))
