"""What we read from a skops file is what scikit-learn does once it is loaded."""

import warnings
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators

from sizewise.formats import sklearn_outputs
from sizewise.formats.trusted import PICKLE_TRUSTED, SKLEARN_TRUSTED
from tests.unit.formats.conftest import FEATURES, Inspect

CLASSES, TEXT_CLASSES, NUMBER, PAIR, ROWS = "classes", "text classes", "number", "pair", "rows"

MODELS = [
    (LogisticRegression(), CLASSES),
    (LogisticRegression(), TEXT_CLASSES),
    (SGDClassifier(), CLASSES),
    (SGDClassifier(loss="log_loss"), CLASSES),
    (RidgeClassifier(), CLASSES),
    (LinearSVC(), CLASSES),
    (DecisionTreeClassifier(), TEXT_CLASSES),
    (GradientBoostingClassifier(n_estimators=2), CLASSES),
    (KNeighborsClassifier(), CLASSES),
    (make_pipeline(StandardScaler(), LogisticRegression()), CLASSES),
    (GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, cv=2), CLASSES),
    (VotingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())], voting="soft"), CLASSES),
    (VotingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())]), CLASSES),
    (StackingClassifier([("a", LogisticRegression())], final_estimator=LinearSVC(), cv=2), CLASSES),
    (LinearRegression(), NUMBER),
    (LinearRegression(), PAIR),
    (Ridge(), PAIR),
    (SVR(), NUMBER),
    (RandomForestRegressor(2), NUMBER),
    (RandomForestRegressor(2), PAIR),
    (KNeighborsRegressor(), NUMBER),
    (KNeighborsRegressor(), PAIR),
    (MLPRegressor(hidden_layer_sizes=[3], max_iter=2), PAIR),
    (HistGradientBoostingRegressor(max_iter=2), NUMBER),
    (MultiOutputRegressor(SVR()), PAIR),
    (IsolationForest(n_estimators=2), ROWS),
    (GaussianMixture(2), ROWS),
]


def fitted(model: Any, kind: str, table: np.ndarray, labels: np.ndarray) -> Any:
    targets = {
        CLASSES: labels,
        TEXT_CLASSES: np.array(["red", "green", "blue"])[labels],
        NUMBER: table[:, 0],
        PAIR: table[:, :2],
        ROWS: None,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(table, targets[kind])


@pytest.mark.parametrize(("model", "kind"), MODELS, ids=lambda each: each if isinstance(each, str) else repr(each)[:40])
def test_outputs(inspect_bytes: Inspect, table: np.ndarray, labels: np.ndarray, model: Any, kind: str) -> None:
    model = fitted(model, kind, table, labels)
    facts = inspect_bytes(skops.io.dumps(model), "m.skops")
    assert facts.runtime == "sklearn"
    assert facts.platform == "sklearn_skops"
    assert facts.inputs[0].shape == (-1, FEATURES)
    offered = [method for method in ("predict", "predict_proba") if hasattr(model, method)]
    assert [spec.name for spec in facts.outputs] == offered
    for spec in facts.outputs:
        answer = np.asarray(getattr(model, spec.name)(table))
        assert spec.accepts(answer.shape), (spec, answer.shape)
        assert spec.datatype == {"f": "FP64", "i": "INT64", "U": "BYTES"}[answer.dtype.kind]


def test_text_goes_in_where_a_vectorizer_comes_first(inspect_bytes: Inspect) -> None:
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good one", "bad one"] * 5, [1, 0] * 5)
    spec = inspect_bytes(skops.io.dumps(model), "m.skops").inputs[0]
    assert (spec.datatype, spec.shape) == ("BYTES", (-1,))


def test_multilabel_predicts_a_row_of_labels(inspect_bytes: Inspect) -> None:
    table, labels = make_multilabel_classification(40, FEATURES, n_classes=3, random_state=0)
    facts = inspect_bytes(skops.io.dumps(DecisionTreeClassifier().fit(table, labels)), "m.skops")
    assert [(spec.name, spec.shape) for spec in facts.outputs] == [("predict", (-1, 3))]


def test_arrays_are_weighed(inspect_bytes: Inspect, table: np.ndarray) -> None:
    model = MLPRegressor(hidden_layer_sizes=[7], max_iter=2, solver="lbfgs")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(table, table[:, 0])
    own = sum(each.size for each in (*model.coefs_, *model.intercepts_))
    parameters = inspect_bytes(skops.io.dumps(model), "m.skops").parameters
    assert parameters is not None
    # The solver leaves a copy of some behind
    assert own <= parameters <= 2 * own + 4


def test_a_transformer_is_weighed_and_not_served(inspect_bytes: Inspect, table: np.ndarray) -> None:
    facts = inspect_bytes(skops.io.dumps(StandardScaler().fit(table)), "m.skops")
    assert facts.runtime is None
    assert "no predict" in facts.notes[-1]


class _Doubled(LogisticRegression):  # type: ignore[misc]
    pass


def test_foreign_types_are_weighed_and_not_served(
    inspect_bytes: Inspect, table: np.ndarray, labels: np.ndarray
) -> None:
    facts = inspect_bytes(skops.io.dumps(_Doubled().fit(table, labels)), "m.skops")
    assert facts.runtime is None
    assert "_Doubled" in facts.notes[-1]


@pytest.mark.parametrize(("model", "kind"), MODELS, ids=lambda each: each if isinstance(each, str) else repr(each)[:40])
def test_the_trusted_list_suffices(table: np.ndarray, labels: np.ndarray, model: Any, kind: str) -> None:
    data = skops.io.dumps(fitted(model, kind, table, labels))
    loaded = skops.io.loads(data, trusted=list(SKLEARN_TRUSTED))
    assert np.array_equal(loaded.predict(table), model.predict(table))


def test_kinds_are_those_of_the_installed_version() -> None:
    assert {name for name, _ in all_estimators("regressor")} <= sklearn_outputs.REGRESSORS
    without = {name for name, kind in all_estimators("classifier") if not hasattr(kind, "predict_proba")}
    assert without <= sklearn_outputs.WITHOUT_PROBABILITIES | {"OneVsOneClassifier", "OutputCodeClassifier"}
    classes = {f"{kind.__module__}.{kind.__name__}" for _, kind in all_estimators()}
    assert classes <= PICKLE_TRUSTED
