"""What a start is made of, and what autoscalers see of it: in simulated time, from scenario files."""

from dataclasses import replace
from pathlib import Path

import pytest

from sizewise.core.profiles import LoadTime
from sizewise.profiling.store import ProfileStore
from sizewise.simulation.catalog import CATALOG, VARYING
from sizewise.simulation.modelling import inline
from sizewise.simulation.parsing import choice, parse_scenario
from sizewise.simulation.running import Outcome, run_policy

SLOTS = "capacity: {replicas: 50}"
MACHINE = "capacity: {machines: {one: {cpus: 16, memory: 64GiB, load_slots: 1}}}"
MANY = 20


def asked_once(
    folder: Path, model: str, *, models: int = 1, capacity: str = SLOTS, policy: str = "sizewise"
) -> list[float]:
    """Seconds from the order until ready, of models that are asked once, all at the same time."""
    (folder / "t.csv").write_text("timestamp_s,model\n" + "".join(f"10,m{i}\n" for i in range(models)))
    text = f"trace: {{path: t.csv, to_s: 400}}\nmodels: {{'*': {model}}}\n{capacity}\nstart_replicas: 0\n"
    outcome = run_policy(parse_scenario(text, file="s.yaml", base=folder), choice(policy))
    return [seconds for _, _, seconds in outcome.cold_loads]


def test_a_start_is_the_sum_of_its_stages(tmp_path: Path) -> None:
    load = "{image_s: 5, start_s: 1, fetch_s: 2, load_s: 3, warmup_s: 4}"
    model = f"{{service_ms: 100, memory: 1GiB, load: {load}}}"
    assert asked_once(tmp_path, model) == pytest.approx([15.0])
    for stage, left_s in (("image_s: 5, ", 10), ("fetch_s: 2, ", 13), (", warmup_s: 4", 11)):
        assert asked_once(tmp_path, model.replace(stage, "")) == pytest.approx([left_s])


def test_quantiles_are_what_loads_are_drawn_from(tmp_path: Path) -> None:
    model = "{service_ms: 100, memory: 1GiB, load_s: {quantiles: {0.0: 10, 0.5: 12, 1.0: 30}}}"
    found = asked_once(tmp_path, model, models=MANY)
    assert len(found) == MANY
    assert all(10 <= seconds <= 30 for seconds in found)
    assert min(found) < 12 < max(found)
    assert asked_once(tmp_path, model, models=MANY) == found


@pytest.mark.parametrize(("slots", "took_s"), [(1, 20.0), (2, 10.0)])
def test_loads_at_once_share_what_the_machine_reads(slots: int, took_s: float, tmp_path: Path) -> None:
    model = "{service_ms: 100, memory: 1GiB, load: {fetch_s: 4, load_s: 6}}"
    capacity = MACHINE.replace("load_slots: 1", f"load_slots: {slots}")
    assert asked_once(tmp_path, model, models=2, capacity=capacity, policy="kpa") == pytest.approx([took_s, took_s])


def test_sizewise_lets_loads_take_turns(tmp_path: Path) -> None:
    model = "{service_ms: 100, memory: 1GiB, load: {fetch_s: 4, load_s: 6}}"
    found = asked_once(tmp_path, model, models=2, capacity=MACHINE)
    assert found == pytest.approx([10.0, 10.0]), "the second is ordered when the first ends"


def test_a_profile_that_was_kept_is_a_model(tmp_path: Path) -> None:
    made = inline(((1, 0.02), (8, 0.06)), cv=0.3, shape="lognormal", memory_bytes=1 << 30).profile
    profile = replace(made, load=LoadTime(start_s=0.5, fetch_s=1.0, load_s=2.0, warmup_s=0.5))
    path = ProfileStore(tmp_path).put("a" * 16, profile)
    assert asked_once(tmp_path, f"{{profile: {path.name}, slo: {{p95_ms: 200}}}}") == pytest.approx([4.0])


def test_loads_of_the_catalogue_vary_as_published(tmp_path: Path) -> None:
    read_s = CATALOG["vgg16"].weights_bytes / 200e6
    found = asked_once(tmp_path, "{catalog: vgg16}", models=MANY)
    assert all(2 + VARYING[0][1] * read_s <= seconds <= 2 + VARYING[-1][1] * read_s for seconds in found)
    assert len({round(seconds, 3) for seconds in found}) > MANY / 2
    large = asked_once(tmp_path, "{catalog: llama-3-8b}", models=MANY)
    assert all(20.5 < seconds < 75.9 for seconds in large), "4.88 to 47.99 s of reading, 15.69 to 27.82 s of the engine"


@pytest.mark.parametrize("name", CATALOG)
def test_every_model_of_the_catalogue_says_where_it_is_from(name: str) -> None:
    entry = CATALOG[name]
    assert entry.source
    assert 0 < entry.loading.median_s < 300


CROWD = """\
generate: {kind: flash, duration_s: 400, rate_per_s: 5, peak: 6, at_s: 200, lasts_s: 100}
models: {'*': {service_ms: 100, cv: 0.2, load_s: 5, memory: 1GiB, slo: {p95_ms: 500}}}
capacity: {replicas: 20}
"""


def seen(metrics: str) -> Outcome:
    return run_policy(parse_scenario(CROWD + metrics, file="s.yaml", base=Path("/")), choice("sizewise"))


def grew_s(outcome: Outcome) -> float:
    """When it first asked for more because of the crowd."""
    return next(at_s for at_s, _, desired, _ in outcome.decisions if at_s > 200 and desired > 2)


def test_sizewise_sees_what_its_metrics_have_come_through_with() -> None:
    clear, late = seen(""), seen("metrics: {delay_s: 20}\n")
    assert grew_s(clear) + 15 <= grew_s(late) <= grew_s(clear) + 30
    assert late.attainment_requests < clear.attainment_requests


def test_sizewise_is_shown_noise_of_its_seed() -> None:
    clear, noisy = seen(""), seen("metrics: {noise: 0.5}\n")
    assert noisy.decisions != clear.decisions
    assert noisy.requests == clear.requests
    assert seen("metrics: {noise: 0.5}\n").decisions == noisy.decisions
