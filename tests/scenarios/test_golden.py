"""Decisions of whole stories, kept as JSON lines: a changed line is a changed decision, and is explained in its commit.

Run with ``SIZEWISE_GOLDEN=write`` in the environment of pytest to write them anew.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from sizewise.core.fleet import ScalingPolicy
from sizewise.core.units import GIB, MIB
from sizewise.protocols.serde import to_jsonable
from tests.scenarios.world import BUDGET, Weight, World

GOLDEN = Path(__file__).parent / "golden"


async def day_and_night(world: World) -> None:
    """Traffic swells and fades: a small model follows, a large one stays."""
    await world.deploy("large", "large", Weight(load_s=4.0, memory_bytes=GIB, call_s=0.03))
    await world.deploy("small", "small", Weight(load_s=0.05, call_s=0.01))
    for second in range(90):
        rate = max(0, 120 - 4 * abs(second - 30))
        world.arrive("small", rate, held=1 if second < 2 else 0)
        world.arrive("large", rate // 8, held=1 if second < 5 else 0)
        await world.tick()


async def short_of_memory(world: World) -> None:
    """Three models, room for two: the one that is asked for now takes the place of the one longest unused."""
    for name, priority in (("first", 0), ("second", 0), ("third", 5)):
        policy = ScalingPolicy(priority=priority)
        await world.deploy(name, name, Weight(load_s=2.0, memory_bytes=1536 * MIB), policy=policy)
    for name in ("first", "second", "third"):
        world.arrive(name, 1, held=1)
        await world.ticks(4)
        world.arrive(name, 1)
        await world.ticks(10)


async def new_version_under_load(world: World) -> None:
    """A version is changed while requests come; capacity does not dip."""
    await world.deploy("shop", "one", Weight(load_s=1.5, call_s=0.02))
    for second in range(60):
        if second == 20:
            await world.deploy("shop", "two", Weight(load_s=1.5, call_s=0.02))
        world.arrive("shop", 60, held=1 if second < 3 else 0)
        await world.tick()


@pytest.mark.parametrize("story", [day_and_night, short_of_memory, new_version_under_load])
async def test_decisions_are_as_they_were(story: Callable[[World], Awaitable[None]], tmp_path: Path) -> None:
    world = World(tmp_path, BUDGET)
    await world.controller.open()
    await story(world)
    lines = []
    for record in world.controller.registry:
        newest_first = await world.controller.explain(record.name, 1000)
        lines += [_without_words(record.name, to_jsonable(explained)) for explained in reversed(newest_first)]
    world.state.close()
    text = b"".join(orjson.dumps(_rounded(line), option=orjson.OPT_SORT_KEYS) + b"\n" for line in lines)
    path = GOLDEN / f"{story.__name__}.jsonl"
    if os.environ.get("SIZEWISE_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        path.write_bytes(text)
    assert text.decode().splitlines() == path.read_text().splitlines()


def _without_words(model: str, line: dict[str, Any]) -> dict[str, Any]:
    """Codes and numbers decide; sentences may be improved."""
    refused = [{key: value for key, value in each.items() if key != "reason"} for each in line["refused"]]
    effect = [words.partition(":")[0] for words in line["effect"]]
    return {**line, "model": model, "reason": line["code"], "refused": refused, "effect": effect}


def _rounded(value: object) -> object:
    """Six figures: what a sum's order or another processor's last bit changes is no decision."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else value
