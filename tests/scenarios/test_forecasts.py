"""Forecasts in simulated time: what comes every day at its hour is expected, what comes by chance is not."""

import random
from pathlib import Path

from sizewise.core.seasonal import BIN_S, BINS, bin_of
from sizewise.simulation.parsing import choice, parse_scenario
from sizewise.simulation.running import Outcome, run_policy
from sizewise.simulation.scenario import Scenario

BUCKET_S, HOUR_S, DAY_S = 300, 3600, 86_400
QUIET, BUSY = 6, 150
"""Requests in a bucket."""
LOAD_S = 240.0


def scenario(folder: Path, *, begins: str = "monday", from_s: int = 0) -> Scenario:
    text = (
        f"trace: {{path: t.csv, begins: {begins}, from_s: {from_s}, columns: {{requests: requests}}}}\n"
        f"models: {{model: {{service_ms: 3000, load_s: {LOAD_S}, memory: 1GiB, slo: {{p95_ms: 8000}}}}}}\n"
        "capacity: {replicas: 20}\ndecide_every_s: 60\n"
    )
    return parse_scenario(text, file="s.yaml", base=folder)


def replayed(folder: Path, *, chance: bool = False) -> Outcome:
    """Two days and a quarter with one busy hour in six, the same ones each day or, with ``chance``, any."""
    rng = random.Random(7)
    starts = range(0, int(2.25 * DAY_S), 6 * HOUR_S)
    busy = [start + (rng.randrange(0, 5 * HOUR_S, BUCKET_S) if chance else HOUR_S) for start in starts]
    rows = [
        f"{at_s},{BUSY if any(b <= at_s < b + HOUR_S for b in busy) else QUIET}\n"
        for at_s in range(0, int(2.25 * DAY_S), BUCKET_S)
    ]
    (folder / "t.csv").write_text("timestamp_s,requests\n" + "".join(rows))
    return run_policy(scenario(folder), choice("sizewise"))


def foreseen_s(outcome: Outcome) -> list[float]:
    """When replicas were started because of what was expected."""
    desired = [0, *(each[2] for each in outcome.decisions)]
    return [
        at_s
        for before, (at_s, _, wanted, why) in zip(desired, outcome.decisions, strict=False)
        if wanted > before and "forecasts have been right lately" in why
    ]


def test_what_comes_at_its_hour_is_ready_from_the_second_day_on(tmp_path: Path) -> None:
    found = foreseen_s(replayed(tmp_path))
    assert min(found) > DAY_S, "a day is needed to learn a day"
    rises = range(DAY_S + HOUR_S, int(2.25 * DAY_S), 6 * HOUR_S)
    announced = [rise for rise in rises if any(rise - 2 * LOAD_S <= at_s < rise for at_s in found)]
    assert len(announced) >= 2


def test_what_comes_by_chance_raises_no_floor(tmp_path: Path) -> None:
    assert not foreseen_s(replayed(tmp_path, chance=True))


def test_the_window_moves_the_day() -> None:
    def begins_unix_s(begins: str, from_s: int) -> float:
        return scenario(Path(), begins=begins, from_s=from_s).begins_unix_s

    assert begins_unix_s("thursday", DAY_S) == begins_unix_s("friday", 0)
    assert bin_of(begins_unix_s("monday", 5 * DAY_S)) == bin_of(begins_unix_s("saturday", 0)) == BINS
    assert bin_of(begins_unix_s("monday", HOUR_S)) == HOUR_S / BIN_S
