"""Scenario files: what they mean, and one line for whatever is wrong in them."""

from pathlib import Path

import pytest

from sizewise.core.units import GIB
from sizewise.protocols.errors import SizewiseError
from sizewise.simulation.parsing import choice, parse_scenario
from sizewise.simulation.running import models_of
from sizewise.simulation.scenario import Dispatch, Mode, Scenario, TraceSource

GOOD = """\
trace: {path: t.csv, scale: 0.5, from_s: 60, to_s: 600}
models:
  "*": {service_ms: 154, cv: 0.21, load_s: 35, memory: 1GiB, slo: {p99_ms: 720}, queue: 50}
  b: {catalog: resnet50, batch: {1: 20, 8: 60}, load: {start_s: 1, load_s: {p50: 4, p99: 9}}}
capacity: {replicas: 36}
policies: [sizewise, {name: hpa, mode: tuned, target: 0.6}, {name: static, replicas: 3}]
shedding: false
dispatch: round_robin
"""


def parsed(text: str = GOOD) -> Scenario:
    return parse_scenario(text, file="s.yaml", base=Path("/x"))


def test_a_scenario_is_read() -> None:
    scenario = parsed()
    assert isinstance(scenario.source, TraceSource)
    assert scenario.source.path == Path("/x/t.csv")
    assert (scenario.source.scale, scenario.source.from_s, scenario.source.to_s) == (0.5, 60, 600)
    any_, second = scenario.models["*"], scenario.models["b"]
    assert any_.slo is not None
    assert (any_.slo.quantile, any_.slo.latency_s, any_.max_queue) == (0.99, 0.72, 50)
    assert any_.profile.curve.p50_s(1) == pytest.approx(0.154 / (1 + 0.21**2) ** 0.5)
    assert (any_.profile.memory.replica_bytes, any_.profile.load.total_s) == (GIB, 35)
    assert (second.batchable, second.profile.curve.max_batch, second.profile.load.total_s) == (True, 8, 5.0)
    assert [p.mode for p in scenario.policies] == [Mode.STOCK, Mode.TUNED, Mode.STOCK]
    assert dict(scenario.policies[1].parameters) == {"target": 0.6}
    assert (scenario.shedding, scenario.dispatch) == (False, Dispatch.ROUND_ROBIN)


def test_exact_names_come_before_patterns() -> None:
    scenario = parsed()
    first, second = models_of(scenario, ["anything", "b"])
    assert first is scenario.models["*"]
    assert second is scenario.models["b"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("policies: [sizewise,", "policies: [sizewisse,", "s.yaml:6: policies[0]: 'sizewisse' is no policy: known are"),
        ("name: hpa,", "name: hpq,", "'hpq' is no policy"),
        ("mode: tuned", "mode: tunned", "tunned is no mode: one of stock"),
        ("mode: tuned", "mode: size_blind", "hpa is told no such thing in any mode"),
        ("capacity: {replicas: 36}", "capacity: {}", "names no capacity"),
        ("capacity: {replicas: 36}", "", "has no capacity"),
        ("trace: {path: t.csv,", "trace: {pth: t.csv,", "s.yaml:1: trace.pth: unknown key, did you mean path?"),
        ("from_s: 60", "from_s: -60", "out of range"),
        ("to_s: 600", "to_s: 60", "is no later than from_s"),
        ("service_ms: 154, cv", "cv", "says not what it weighs"),
        ("catalog: resnet50", "catalog: resnet51", "resnet51 is not in the catalogue: known are mobilenet_v2"),
        ("shedding: false", "shedding: maybe", "give true or false"),
        ("round_robin", "random", "random is no way to dispatch"),
        ("p99: 9}", "p98: 9}", "unknown key"),
        ("1: 20, 8: 60", "2: 20, 8: 60", "does not say what one request takes"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(SizewiseError) as refused:
        parsed(GOOD.replace(old, new))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_model_without_a_profile_is_named() -> None:
    scenario = parsed(GOOD.replace('"*"', "a"))
    with pytest.raises(SizewiseError, match="model 'c', which has no profile: add it, or '\\*', under models"):
        models_of(scenario, ["a", "c"])


def test_policies_of_the_command_line() -> None:
    assert choice("kpa:calibrated").mode is Mode.CALIBRATED
    assert choice("sizewise:size_blind").label == choice("size_blind").label == "sizewise size-blind"
    with pytest.raises(SizewiseError, match="is a mode of sizewise alone"):
        choice("hpa:perfect_forecast")
    with pytest.raises(SizewiseError, match="names no mode: use one of stock"):
        choice("kpa:best")


def test_another_rule_about_unused_models_may_be_named() -> None:
    assert parsed().warmth == "ours"
    assert parsed(GOOD + "warmth: ttl:30\n").warmth == "ttl:30"
    with pytest.raises(SizewiseError, match="hope is no rule about unused models"):
        parsed(GOOD + "warmth: hope\n")
