"""What production shows replaces what was profiled within half a minute, in both directions."""

from dataclasses import replace
from pathlib import Path

import pytest

from sizewise.core.fleet import ScalingPolicy
from tests.scenarios.world import Weight, World

SOON_S = 30
"""Seconds that a changed machine may take to show, in the curve and in what is decided."""
CALL_S, BURNED_S = 0.015, 0.033
PER_S = 40
"""Three fifths of what one replica can do, and more than it can once another process burns half of its core."""


async def serve(world: World, call_s: float) -> tuple[float, int]:
    """One second of traffic whose calls take so long: the live median that is shown, and the replicas desired."""
    world.arrive("busy", PER_S, latency_s=1.5 * call_s)
    counted = world.backend.traffic["busy"]
    world.backend.traffic["busy"] = replace(counted, batch_samples=((1, call_s),) * PER_S, in_flight=1)
    await world.tick()
    status = world.controller.model_status("busy")
    figure = status.figures["p50_s[1]"]
    assert figure.profiled == CALL_S, "what was measured stays beside it"
    return figure.live or 0.0, status.replicas.desired


async def seconds_until(world: World, call_s: float, *, grown: bool) -> int:
    """Seconds of such traffic until the curve is where it belongs, and one replica is not enough, or is again."""
    live_s, desired = 0.0, 0
    for second in range(1, 2 * SOON_S + 1):
        live_s, desired = await serve(world, call_s)
        if live_s == pytest.approx(call_s, rel=0.1) and (desired > 1) is grown:
            return second
    pytest.fail(f"after {2 * SOON_S} s {live_s} s are shown and {desired} replicas desired")


async def test_a_burner_moves_curve_and_capacity_within_half_a_minute_and_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.controller.open()
    await world.deploy("busy", "busy", Weight(call_s=CALL_S), policy=ScalingPolicy(min_replicas=1))
    await world.ticks(3)
    for _ in range(SOON_S):
        await serve(world, CALL_S)
    assert await seconds_until(world, CALL_S, grown=False) == 1
    assert await seconds_until(world, BURNED_S, grown=True) <= SOON_S
    for _ in range(SOON_S):
        await serve(world, BURNED_S)
    assert await seconds_until(world, CALL_S, grown=False) <= SOON_S
    world.state.close()
