"""The simulator beside the local runtime, in seconds: what ``benchmarks.fidelity`` shows in minutes."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.fidelity.cases import paced
from benchmarks.fidelity.figures import compared
from benchmarks.fidelity.real import measured, replay
from benchmarks.fidelity.simulated import simulated, write_trace
from sizewise.profiling.timing import CurveBudget

SECONDS = 12.0


@pytest.mark.heavy
def test_what_is_simulated_is_about_what_happens(tmp_path: Path) -> None:
    every = paced(faster=10.0)
    case = replace(every, subjects=tuple(each for each in every.subjects if each.name in {"burst", "small"}))
    profiles = measured(case, tmp_path, CurveBudget(total_s=5.0, point_s=1.0, least=10))
    real = replay(case, tmp_path, SECONDS)
    write_trace(case, tmp_path / "trace.csv", SECONDS)
    found = simulated(case, profiles, tmp_path / "trace.csv", seconds=SECONDS, overhead_bytes=real.overhead_bytes)
    assert found.requests == real.figures.requests
    assert real.figures.cold_starts == found.cold_starts >= 2
    assert max(real.figures.peak, found.peak) <= 2 * min(real.figures.peak, found.peak)
    # Roughly: a machine that has other things to do answers later than the simulator knows
    rows = {row["figure"]: row for row in compared([real.figures], found)}
    assert rows["attainment"]["off"] <= 30.0, "points"
    assert rows["p95_s"]["off"] <= 0.6
    assert rows["replica_s"]["off"] <= 0.5
