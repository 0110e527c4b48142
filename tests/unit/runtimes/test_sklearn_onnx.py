"""When an ONNX file counts as the same model, on which rows that is asked, and what it refuses in its place."""

import warnings

import numpy as np
import orjson
import pytest

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.oip import RequestError, Signature
from sizewise.protocols.oip.arrays import Array
from sizewise.runtimes.base import Arrays
from sizewise.runtimes.sklearn_onnx import difference
from sizewise.runtimes.sklearn_rows import check_rows
from sizewise.runtimes.stand_in import LARGE, StandIn

ROWS = np.zeros((3, 2))
P = np.array([1.0, 0.5, 1e-9])
LABELS = np.array(["a", "b", "c"])


@pytest.mark.parametrize(
    ("mine", "other", "says"),
    [
        pytest.param(P, P * (1 + 9e-6), None, id="within 1e-5"),
        pytest.param(P, P + np.array([0.0, 2e-5, 0.0]), "differs in 1 of 3 values: 0.5 became 0.50002", id="beyond"),
        pytest.param(P, P + np.array([0.0, 0.0, 1e-7]), None, id="below what float32 can tell beside 1"),
        pytest.param(P, P + np.array([0.0, 0.0, 1e-6]), "differs in 1 of 3 values", id="above it"),
        pytest.param(np.array([np.nan, 1.0, 1.0]), np.array([np.nan, 1.0, 1.0]), None, id="NaN equals NaN"),
        pytest.param(P, P.reshape(3, 1), r"has shape \[3, 1\] and not \[3\]", id="another shape"),
        pytest.param(LABELS, LABELS.astype(object), None, id="texts of another dtype"),
        pytest.param(LABELS, np.array(["a", "b", "b"], object), "c became b", id="another label"),
        pytest.param(np.arange(3), np.array([0, 1, 3]), "2 became 3", id="another class"),
    ],
)
def test_what_counts_as_the_same_answer(mine: Array, other: Array, says: str | None) -> None:
    found = difference({"predict": mine}, {"predict": other}, ROWS)
    if says is None:
        assert found is None
    else:
        with pytest.raises(AssertionError, match=says):
            raise AssertionError(found)


def test_where_only_missing_values_differ_it_says_so() -> None:
    rows = np.array([[0.0, 0.0], [np.nan, 0.0], [0.0, 0.0]])
    found = difference({"predict": np.arange(3)}, {"predict": np.array([0, 2, 2])}, rows)
    assert found is not None
    assert "with values missing" in found


def test_rows_lie_on_both_sides_of_every_threshold_and_come_to_its_node() -> None:
    from sklearn.tree import DecisionTreeClassifier

    random = np.random.default_rng(0)
    tree = DecisionTreeClassifier(max_depth=4, random_state=0).fit(random.random((300, 3)), random.integers(0, 3, 300))
    rows = check_rows(tree, 3)
    inner = np.flatnonzero(tree.tree_.feature >= 0)
    passed = tree.decision_path(rows.astype(np.float32).astype(np.float64)).toarray()
    for node in inner:
        here = rows[passed[:, node] > 0, tree.tree_.feature[node]]
        threshold = tree.tree_.threshold[node]
        near = np.abs(here - threshold) <= 2e-7 * abs(threshold)
        assert near.any(), "no row comes to this node with a value beside its threshold"


def test_rounding_thresholds_instead_of_values_is_found_out() -> None:
    """The trap: a float64 threshold rounded up to float32 sends a value between them the other way."""
    from sklearn.tree import DecisionTreeRegressor

    random = np.random.default_rng(0)
    x = random.random((300, 1))
    tree = DecisionTreeRegressor(max_depth=5, random_state=0).fit(x, random.random(300))
    rows = check_rows(tree, 1)
    expected = tree.predict(rows)
    inner = tree.tree_.feature >= 0
    wrong = tree.tree_.threshold
    wrong[inner] = np.nextafter(wrong[inner].astype(np.float32), np.float32(np.inf))
    assert difference({"predict": expected}, {"predict": tree.predict(rows)}, rows) is not None


class Echo:
    signature = Signature(
        (TensorSpec(name="input", datatype="FP64", shape=(-1, 2)),),
        (TensorSpec(name="predict", datatype="FP64", shape=(-1, 2)),),
    )

    def run(self, inputs: Arrays, outputs: tuple[str, ...]) -> dict[str, Array]:
        return {"predict": inputs["input"]}


REFUSALS = {"nan": "contains NaN", "inf": "contains infinity", "large": "too large", "empty": "no rows"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([[1.0, -3e38]], None),
        ([[1.0, np.nan], [np.inf, 0.0]], "contains NaN"),
        ([[-np.inf, 1e300]], "contains infinity"),
        ([[LARGE, 0.0]], "too large"),
    ],
)
def test_a_stand_in_refuses_what_the_model_refuses_in_its_words(table: list[list[float]], words: str | None) -> None:
    model = StandIn(Echo(), orjson.dumps(REFUSALS))
    if words is None:
        assert model.run({"input": np.array(table)}, ())["predict"].tolist() == table
    else:
        with pytest.raises(RequestError, match=words):
            model.run({"input": np.array(table)}, ())


def test_a_stand_in_accepts_what_the_model_accepts() -> None:
    model = StandIn(Echo(), b"{}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.run({"input": np.array([[np.nan, 1e300]])}, ())["predict"].shape == (1, 2)
    assert model.signature.casts
