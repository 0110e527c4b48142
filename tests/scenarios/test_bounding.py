"""No policy of a seeded scenario is below the certified bound at its own attainment."""

from pathlib import Path

import pytest

import sizewise

WORLD = """\
generate: {{kind: {kind}, duration_s: 1500, rate_per_s: {rate}, models: 3, {more}}}
models:
  model-0: {{service_ms: 100, cv: {cv}, load_s: 40, memory: 1GiB, slo: {{p95_ms: 500}}, queue: 50}}
  model-1: {{service_ms: 300, cv: {cv}, load_s: 6, memory: 1GiB, slo: {{p95_ms: 900}}, queue: 50}}
  "*": {{batch: {{1: 100, 8: 300}}, cv: {cv}, load_s: 1, memory: 1GiB, slo: {{p95_ms: 1500}}, queue: 50}}
capacity: {{replicas: 30, replica_usd_per_h: 2}}
start_replicas: {start}
seed: {seed}
"""
POLICIES = ["sizewise", "static", "hpa:calibrated", "kpa:calibrated", "keda", "aibrix_apa:calibrated"]


@pytest.mark.parametrize(
    ("kind", "more", "rate", "cv", "start"),
    [
        ("poisson", "cv: 1", 6, 0.0, 1),
        ("flash", "peak: 6, at_s: 300, lasts_s: 300", 3, 0.3, 1),
        ("mmpp", "on_s: 60, off_s: 90, peak: 20", 2, 1.0, 0),
    ],
)
def test_nobody_is_below_the_certified_bound(
    kind: str, more: str, rate: float, cv: float, start: int, tmp_path: Path
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(WORLD.format(kind=kind, more=more, rate=rate, cv=cv, start=start, seed=3))
    rows = sizewise.simulate(file, policies=POLICIES).rows()
    assert len(rows) == len(POLICIES)
    for row in rows:
        assert row["cost_usd"] >= row["bound_cost_certified"], row["policy"]
        assert row["bound_cost"] >= row["bound_cost_certified"]
        assert row["cost_to_bound"] == pytest.approx(row["cost_usd"] / row["bound_cost"])
    assert max(row["bound_cost_certified"] / row["cost_usd"] for row in rows if row["cost_usd"]) > 0.2


def test_where_machines_are_paid_or_nothing_is_promised_there_is_no_bound(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(
        "generate: {kind: poisson, duration_s: 120, rate_per_s: 2}\n"
        "models: {'*': {service_ms: 100, load_s: 1}}\ncapacity: {replicas: 3}\n"
    )
    (row,) = sizewise.simulate(file, policies=["static"]).rows()
    assert (row["bound_cost"], row["bound_cost_certified"], row["cost_to_bound"]) == (None, None, None)


@pytest.mark.parametrize("kind", ["poisson", "flash"])
def test_the_certified_bound_holds_where_a_warm_up_is_left_out(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    # A crowd just when counting begins: what answers it was ordered before
    more = "cv: 1" if kind == "poisson" else "peak: 6, at_s: 570, lasts_s: 120"
    text = WORLD.format(kind=kind, more=more, rate=3, cv=0.2, start=1, seed=3)
    file.write_text(text + "window: {warmup_s: 600}\n")
    rows = sizewise.simulate(file, policies=POLICIES).rows()
    for row in rows:
        assert row["cost_usd"] >= row["bound_cost_certified"], row["policy"]
    assert max(row["bound_cost_certified"] / row["cost_usd"] for row in rows if row["cost_usd"]) > 0.2


def test_without_a_price_bounds_are_in_replica_seconds(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    text = WORLD.format(kind="poisson", more="cv: 1", rate=3, cv=0.2, start=1, seed=3)
    file.write_text(text)
    (priced,) = sizewise.simulate(file, policies=["static"]).rows()
    file.write_text(text.replace(", replica_usd_per_h: 2", ""))
    (plain,) = sizewise.simulate(file, policies=["static"]).rows()
    assert plain["bound_cost"] == pytest.approx(priced["bound_cost"] * 3600 / 2)
    assert plain["bound_cost_certified"] > 0
    assert plain["cost_to_bound"] == pytest.approx(plain["replica_seconds"] / plain["bound_cost"])
