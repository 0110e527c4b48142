"""The pure parts of the experiments: frontiers, grids, and what is tuned on against what is judged by."""

import functools
import itertools
import tomllib
from pathlib import Path

import pytest

from benchmarks.experiments.cases import FILE, Case, cases, spread_loads, with_quantile
from benchmarks.experiments.estimates import mistaken
from benchmarks.experiments.faro import attained_at
from benchmarks.experiments.frontiers import Point, best_of, cost_at, hull, worth_trying
from benchmarks.experiments.made_traces import spikes, square
from benchmarks.experiments.ratio import shortened, summary
from benchmarks.experiments.report import shown, table
from benchmarks.experiments.size_pays import told_loads
from sizewise.core.policies.registry import JOINT_POLICIES, POLICIES
from sizewise.simulation.calibrating import incumbent_for, joint_for
from sizewise.simulation.grids import choice_of, grid_of, tuned_names
from sizewise.simulation.scenario import Generator, TraceSource

POINTS = [Point(0.90, 10.0), Point(0.99, 20.0), Point(0.98, 30.0), Point(0.95, 18.0), Point(0.999, 40.0)]


@functools.cache
def all_cases() -> tuple[Case, ...]:
    return tuple(cases(Path("traces")))


def test_a_frontier_leaves_out_what_another_beats() -> None:
    assert [point.cost for point in best_of(POINTS)] == [10.0, 18.0, 20.0, 40.0]
    # 0.95 at 18 lies above the line from 0.90 at 10 to 0.99 at 20
    assert [point.cost for point in hull(POINTS)] == [10.0, 20.0, 40.0]


@pytest.mark.parametrize(
    ("attainment", "cost"), [(0.5, 10.0), (0.9, 10.0), (0.945, 15.0), (0.99, 20.0), (0.9945, 30.0), (0.9995, None)]
)
def test_costs_are_read_off_between_settings(attainment: float, cost: float | None) -> None:
    found = cost_at(POINTS, attainment)
    assert found is None if cost is None else found == pytest.approx(cost)


def test_nothing_attains_anything_without_settings() -> None:
    assert cost_at([], 0.1) is None


def test_the_strictest_setting_is_always_tried_and_the_others_are_near_what_is_asked() -> None:
    points = [Point(1 - 10**-n, n) for n in (1.0, 1.5, 1.9, 2.1, 2.9, 3.1, 5.0)]
    kept = worth_trying(points, attainments=(0.99, 0.999), most=5)
    assert [round(point.cost, 1) for point in kept] == [1.9, 2.1, 2.9, 3.1, 5.0]
    assert worth_trying(points[:2], attainments=(0.99,), most=5) == points[:2]


def test_every_other_autoscaler_has_a_grid_of_two_hundred_settings_that_it_understands() -> None:
    assert {*tuned_names()} == {*POLICIES, *JOINT_POLICIES} - {"static"}
    case = all_cases()[0]
    for name in tuned_names():
        grid = grid_of(name)
        assert len(grid) >= 200, name
        choices = [choice_of(name, values) for values in grid]
        assert len({choice.label for choice in choices}) == len(grid)
        for policy in choices:
            if name in POLICIES:
                incumbent_for(policy, case.model)
            else:
                joint_for(policy, [case.model], case.train)


def test_what_is_judged_was_never_tuned_on() -> None:
    for case in all_cases():
        train, evaluate = case.train.source, case.evaluate.source
        if isinstance(train, TraceSource) and isinstance(evaluate, TraceSource):
            assert train.to_s is not None
            assert train.to_s <= evaluate.from_s, case.key
        else:
            assert isinstance(train, Generator)
            assert case.train.seed != case.evaluate.seed
    trained = {case.train.seed for case in all_cases() if isinstance(case.train.source, Generator)}
    assert not trained & {case.evaluate.seed for case in all_cases()}


def test_the_matrix_is_all_of_it() -> None:
    found = tomllib.loads(FILE.read_text())
    kinds = {*found["trace"], *found["catalogue"]}
    assert {(case.name, case.load_s, case.seed) for case in all_cases()} == {
        *itertools.product(kinds, (5, 35, 300), (1, 2, 3))
    }
    assert {case.name for case in cases(None)} == {*found["catalogue"]}


def test_loads_spread_as_far_as_they_are_told() -> None:
    loads = spread_loads(35.0, 100.0, 50, seed=1)
    assert max(loads) / min(loads) == pytest.approx(100.0)
    assert sorted(loads)[25] == pytest.approx(35.0, rel=0.1)
    assert loads != sorted(loads)
    assert spread_loads(35.0, 1.0, 3, seed=1) == pytest.approx([35.0] * 3)


def test_another_quantile_is_the_same_latency() -> None:
    case = all_cases()[0]
    (model,) = with_quantile(case.train, 0.9).models.values()
    assert model.slo is not None
    assert case.model.slo is not None
    assert (model.slo.quantile, model.slo.latency_s) == (0.9, case.model.slo.latency_s)


def test_results_name_no_place_on_this_machine() -> None:
    assert shown(["/data/traces", "--seeds", "1"]) == ["TRACES", "--seeds", "1"]


def test_a_table_has_a_column_for_everything_that_any_row_has() -> None:
    text = table([{"a": 1}, {"a": 22, "b": None}, {"b": "x"}])
    assert text.splitlines()[0].split() == ["a", "b"]
    assert text.splitlines()[3].split() == ["x"]


def test_what_is_attained_for_so_much_is_what_costs_so_much() -> None:
    for attainment in (0.9, 0.945, 0.99, 0.9945):
        cost = cost_at(POINTS, attainment)
        assert cost is not None
        assert attained_at(POINTS, cost) == pytest.approx(attainment, abs=2e-4)
    assert attained_at(POINTS, 9.9) is None
    assert attained_at(POINTS, 1e9) == pytest.approx(0.999, abs=2e-4)


def test_lies_about_loads_change_no_load() -> None:
    loads = [2.0, 20.0, 200.0]
    assert told_loads(loads, "true", seed=1) == loads
    assert told_loads(loads, "median", seed=1) == [20.0] * 3
    assert sorted(told_loads(loads, "shuffled", seed=1)) == loads
    assert told_loads(loads, "typed", seed=1) == [1.0, 10.0, 100.0]
    case = all_cases()[0]
    (model,) = mistaken(case.train, 2.0).models.values()
    assert model.told is not None
    assert model.told.load.total_s == 2 * case.load_s
    assert model.profile.load.total_s == case.load_s
    assert model.loading.median_s == case.load_s


def test_traffic_that_hurts_is_what_it_is_called() -> None:
    assert square(4, on_share=0.5, high=9.0, low=1.0, seconds=6).tolist() == [9, 9, 1, 1, 9, 9]
    assert spikes(4, lasts_s=1, high=9.0, low=1.0, seconds=6).tolist() == [1, 1, 1, 9, 1, 1]


def test_a_shorter_part_is_the_beginning_of_it() -> None:
    case = next(case for case in all_cases() if case.name == "nasa_http")
    short, source = shortened(case.evaluate, 2.0).source, case.evaluate.source
    assert isinstance(short, TraceSource)
    assert isinstance(source, TraceSource)
    assert (short.from_s, short.to_s) == (source.from_s, source.from_s + 2 * 3600 + case.evaluate.warmup_s)
    assert shortened(case.evaluate, 1e6).source == source


def test_a_summary_has_the_middle_and_the_worst_of_each_kind() -> None:
    rows = [{"kind": "public", "cost_to_bound": ratio} for ratio in (1.0, 1.5, 1.2)]
    rows.append({"kind": "adversarial", "cost_to_bound": 2.5})
    assert summary(rows) == {
        "public_median": 1.2,
        "public_worst": 1.5,
        "adversarial_median": 2.5,
        "adversarial_worst": 2.5,
    }
