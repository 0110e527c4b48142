"""Open-loop load: each request leaves at its own time, whether or not earlier ones were answered."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from sizewise.demo.models import ATLAS_WIDTH, DemoModel, dataset
from sizewise.demo.traffic import Arrival
from sizewise.loadgen.pool import Pool
from sizewise.loadgen.request import Body, target_of

VARIANTS = 32
"""Bodies made ahead for each model, so that making them costs nothing during the run."""
CONNECTIONS = 48
"""Open at once for each model, at most; all models together stay below the 1024 descriptors of a usual shell."""
TIMEOUT_S = 90.0

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

    @property
    def answered(self) -> bool:
        return self.status == 200


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
    """Send ``arrivals`` at their times; ``done`` is called with each outcome. Ends when all are answered.

    On a machine too busy for that, requests leave late and their wait counts as latency.
    """
    clock = time.monotonic
    started_s = clock()
    pools = {name: _pool(name, calls[name], url=url, done=done, started_s=started_s) for name in calls}
    sweeping = asyncio.create_task(_sweep(tuple(pools.values())))
    try:
        for arrival in arrivals:
            await asyncio.sleep(max(started_s + arrival.at_s - clock(), 0))
            pools[arrival.model].submit(started_s + arrival.at_s)
        for pool in pools.values():
            await pool.finish()
    finally:
        sweeping.cancel()
        await asyncio.gather(*(pool.close() for pool in pools.values()))


def _pool(name: str, calls: list[Call], *, url: str, done: Callable[[Outcome], None], started_s: float) -> Pool:
    bodies = [Body(content=call.body, headers={"content-type": "application/json"}) for call in calls]
    target = target_of(url + calls[0].path, bodies)
    account = _Outcomes(name, started_s, done)
    return Pool(target, account, connections=CONNECTIONS, timeout_s=TIMEOUT_S)


async def _sweep(pools: Sequence[Pool]) -> None:
    while True:
        await asyncio.sleep(1)
        for pool in pools:
            pool.sweep()


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """What became of one model's requests, told as outcomes."""

    model: str
    started_s: float
    done: Callable[[Outcome], None]

    def submitted(self, due_s: float) -> None:
        """Counted when it ends."""

    def answered(self, status: int, *, due_s: float, sent_s: float, now_s: float) -> None:
        del sent_s  # whoever waits counts from when it was due
        at_s = due_s - self.started_s
        self.done(Outcome(model=self.model, at_s=at_s, latency_s=now_s - due_s, status=status))

    def failed(self, reason: str, due_s: float) -> None:
        del reason
        self.answered(0, due_s=due_s, sent_s=due_s, now_s=time.monotonic())
