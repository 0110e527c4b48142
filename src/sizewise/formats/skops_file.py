"""scikit-learn models saved by skops: a schema in JSON and one member for each array.

Nothing is built: the schema is walked as data. Names of inputs and outputs: docs/models.md.
"""

import json
from collections.abc import Iterator, Mapping

from sizewise.core.tensors import TensorSpec
from sizewise.formats.archive import Archive
from sizewise.formats.found import FormatError, Found, Weights, as_mapping, element_count
from sizewise.formats.npy import HEAD_BYTES, Array, datatype_of, read_header
from sizewise.formats.sklearn_outputs import (
    LABELERS,
    NOT_PREDICTING,
    PROBABLE_LABELERS,
    REGRESSORS,
    TEXT_READERS,
    WITHOUT_PROBABILITIES,
    WRAPPERS,
)
from sizewise.formats.sklearn_trees import check_trees
from sizewise.formats.trusted import SKLEARN_TRUSTED

SCHEMA = "schema.json"
SCHEMA_MAX_BYTES = 64 * 1024**2
_KNOWN_PACKAGES = frozenset(("sklearn", "numpy", "scipy", "builtins", "collections"))

Node = Mapping[str, object]


def read_skops(archive: Archive) -> Found:
    """What a skops file holds and weighs. Raises FormatError where schema and arrays do not agree."""
    model = _Model(archive)
    final = model.final(model.root)
    inputs = model.inputs()
    outputs, notes = model.outputs(final)
    foreign = sorted(model.types - set(SKLEARN_TRUSTED))
    runtime: str | None = "sklearn"
    if foreign:
        runtime = None
        notes.append(f"holds types that are not known safe, so it cannot be served: {', '.join(foreign[:5])}")
    elif not outputs:
        runtime = None
        notes.append(f"{model.name(final)} has no predict, so it cannot be served")
    elif not inputs:
        runtime = None
        notes.append("does not say how many features it takes: fit it before saving")
    return Found(
        format="sklearn",
        platform="sklearn_skops",
        runtime=runtime,
        parameters=model.weights.parameters,
        weight_bytes=model.weights.by_datatype(),
        inputs=inputs,
        outputs=outputs,
        notes=(f"estimator {model.name(model.root)}", *notes),
    )


class _Model:
    """The schema of one file, and the arrays that it names."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self.arrays: dict[str, Array] = {}
        self.weights = Weights()
        self.types: set[str] = set()
        """Types that come from none of the packages that scikit-learn is made of."""
        try:
            schema = json.loads(archive.read(SCHEMA, SCHEMA_MAX_BYTES))
        except (ValueError, RecursionError) as error:
            raise FormatError("has a damaged schema.json") from error
        self.root: Node = as_mapping(schema, "schema.json")
        if "__class__" not in self.root:
            raise FormatError("has a schema.json that names no class")
        for node, weighs in _nodes(self.root):
            self._take(node, weighs=weighs)
        check_trees(archive, self.arrays, self.root)

    def _take(self, node: Node, *, weighs: bool) -> None:
        module, file = str(node.get("__module__", "")), node.get("file")
        if module.split(".", maxsplit=1)[0] not in _KNOWN_PACKAGES:
            self.types.add(f"{module}.{node.get('__class__')}")
        if isinstance(file, str) and file not in self.arrays and node.get("type") == "numpy":
            size = self._archive.members[file].size if file in self._archive.members else 0
            array = read_header(self._archive.head(file, HEAD_BYTES), size=size, name=file)
            self.arrays[file] = array
            if weighs:
                array.add_to(self.weights)

    def name(self, node: Node) -> str:
        return str(node.get("__class__", "?"))[:100]

    def attribute(self, node: Node, name: str) -> Node | None:
        """The saved attribute of an estimator."""
        state = node.get("content")
        values = state.get("content") if isinstance(state, dict) else None
        value = values.get(name) if isinstance(values, dict) else None
        return value if isinstance(value, dict) else None

    def value(self, node: Node, name: str) -> object:
        """A plain attribute: number, text, True, False or None; None when it is none of these."""
        found = self.attribute(node, name)
        if found is None or not isinstance(found.get("content"), str) or not found.get("is_json"):
            return None
        try:
            value: object = json.loads(str(found["content"]))
        except ValueError:
            return None
        return value

    def items(self, node: Node | None) -> list[Node]:
        content = node.get("content") if node is not None else None
        return [each for each in content if isinstance(each, dict)] if isinstance(content, list) else []

    def array(self, node: Node | None) -> Array | None:
        return self.arrays.get(str(node.get("file"))) if node is not None else None

    def steps(self, node: Node) -> list[Node]:
        """The estimators of a pipeline."""
        return [parts[1] for step in self.items(self.attribute(node, "steps")) if len(parts := self.items(step)) == 2]

    def final(self, node: Node) -> Node:
        """The estimator that answers: the last step of a pipeline, the best one of a search."""
        for _ in range(16):
            steps = self.steps(node) if self.name(node) == "Pipeline" else []
            inner = self.attribute(node, WRAPPERS.get(self.name(node), ""))
            if not steps and inner is None:
                return node
            node = steps[-1] if steps else inner or node
        raise FormatError("wraps estimators more than 16 deep in each other")

    def first(self, node: Node) -> Node:
        for _ in range(16):
            steps = self.steps(node) if self.name(node) == "Pipeline" else []
            inner = self.attribute(node, WRAPPERS.get(self.name(node), ""))
            if self.features(node) is not None or (not steps and inner is None):
                return node
            node = steps[0] if steps else inner or node
        return node

    def features(self, node: Node) -> int | None:
        count = self.value(node, "n_features_in_")
        if count is None and self.attribute(node, "n_features_in_") is None:
            # Ensembles of different estimators ask the first of them
            inner = self.items(self.attribute(node, "estimators_")) or self._inside(node, "regressor_")
            count = self.value(self.first(inner[0]), "n_features_in_") if inner else None
        if not isinstance(count, int) or isinstance(count, bool):
            return None
        element_count((count,))
        return count

    def _inside(self, node: Node, name: str) -> list[Node]:
        inner = self.attribute(node, name)
        return [] if inner is None else [self.final(inner)]

    def inputs(self) -> tuple[TensorSpec, ...]:
        first = self.first(self.root)
        if self.name(first) in TEXT_READERS:
            return (TensorSpec(name="input", datatype="BYTES", shape=(-1,)),)
        features = self.features(first)
        return () if features is None else (TensorSpec(name="input", datatype="FP64", shape=(-1, features)),)

    def outputs(self, node: Node) -> tuple[tuple[TensorSpec, ...], list[str]]:
        """Outputs of the estimator that answers, and what could not be told."""
        kind = self.name(node)
        classes = self.attribute(node, "classes_")
        novelty = kind != "LocalOutlierFactor" or self.value(node, "novelty") is True
        if kind in NOT_PREDICTING or not novelty:
            return (), []
        if classes is not None and kind not in REGRESSORS:
            return self._classifier(node, classes)
        if kind in LABELERS:
            outputs = [TensorSpec(name="predict", datatype="INT64", shape=(-1,))]
            means = self.array(self.attribute(node, "means_"))
            if kind in PROBABLE_LABELERS and means is not None:
                outputs.append(TensorSpec(name="predict_proba", datatype="FP64", shape=(-1, means.shape[0])))
            return tuple(outputs), []
        if kind in REGRESSORS:
            width = self._width(node)
            return (TensorSpec(name="predict", datatype="FP64", shape=(-1,) if width is None else (-1, width)),), []
        return (), []

    def _classifier(self, node: Node, classes: Node) -> tuple[tuple[TensorSpec, ...], list[str]]:
        several = self.items(classes) if classes.get("type") != "json" else []
        if several:
            shape: tuple[int, ...] = (-1, len(several))
            labels = self._labels(several[0])
            if self.name(node) == "ClassifierChain":
                return self._chain(node, shape), []
            return (TensorSpec(name="predict", datatype=labels, shape=shape),), [
                "gives no probabilities: several outputs"
            ]
        outputs = [TensorSpec(name="predict", datatype=self._labels(classes), shape=(-1,))]
        array = self.array(classes)
        count = array.elements if array is not None else len(self.items(classes))
        if self._multilabel(node):
            outputs = [TensorSpec(name="predict", datatype=self._labels(classes), shape=(-1, count))]
        if self._has_probabilities(node):
            outputs.append(TensorSpec(name="predict_proba", datatype="FP64", shape=(-1, count)))
        return tuple(outputs), []

    def _chain(self, node: Node, shape: tuple[int, ...]) -> tuple[TensorSpec, ...]:
        """A chain gathers the answers of its parts in floating point."""
        parts = self.items(self.attribute(node, "estimators_"))
        names = ["predict"]
        if parts and self._has_probabilities(self.final(parts[0])):
            names.append("predict_proba")
        return tuple(TensorSpec(name=name, datatype="FP64", shape=shape) for name in names)

    def _multilabel(self, node: Node) -> bool:
        binarizer = self.attribute(node, "label_binarizer_") or self.attribute(node, "_label_binarizer")
        kind = self.value(binarizer, "y_type_") if binarizer is not None else None
        return isinstance(kind, str) and kind.startswith("multilabel")

    def _labels(self, classes: Node) -> str:
        """Datatype of predicted labels: texts are BYTES, whole numbers and truth values INT64."""
        array = self.array(classes)
        if array is None or datatype_of(array.dtype) == "BYTES":
            return "BYTES"
        return "FP64" if array.dtype.kind == "f" else "INT64"

    def _has_probabilities(self, node: Node) -> bool:
        """``predict_proba`` exists on some classifiers only with some settings."""
        kind = self.name(node)
        inner = {"OneVsRestClassifier": "estimator", "StackingClassifier": "final_estimator_"}.get(kind)
        # These ask the estimator inside them
        inner = inner or {"SelfTrainingClassifier": "estimator_"}.get(kind)
        inside = self.attribute(node, inner) if inner else None
        if inside is not None:
            return self._has_probabilities(self.final(inside))
        if kind == "SGDClassifier":
            return self.value(node, "loss") in ("log_loss", "modified_huber")
        if kind in ("SVC", "NuSVC"):
            return self.value(node, "probability") is True
        if kind == "VotingClassifier":
            return self.value(node, "voting") == "soft"
        return kind not in WITHOUT_PROBABILITIES

    def _width(self, node: Node) -> int | None:
        """Outputs of a regressor for one row; None for one number, which is not a list of one."""
        outputs = self.value(node, "n_outputs_")
        if isinstance(outputs, int) and outputs > 1:
            return outputs
        estimators = self.items(self.attribute(node, "estimators_"))
        if self.name(node) in ("MultiOutputRegressor", "RegressorChain"):
            return len(estimators)
        if self.value(node, "_predict_1d") is True or self.value(node, "_training_dim") == 1:
            return None
        inner = self.attribute(node, "regressor_") or self.attribute(node, "final_estimator_")
        if inner is not None:
            return self._width(self.final(inner))
        if self.name(node) in ("BaggingRegressor", "RANSACRegressor"):
            inside = estimators[0] if estimators else self.attribute(node, "estimator_")
            return self._width(self.final(inside)) if inside is not None else None
        return self._width_of_arrays(node)

    def _width_of_arrays(self, node: Node) -> int | None:
        # Where the number of outputs shows in an array of two dimensions, and along which of them
        for name, axis in (("coef_", 0), ("dual_coef_", 1), ("_y", 1), ("y_train_", 1), ("constant_", 1)):
            array = self.array(self.attribute(node, name))
            if array is not None and len(array.shape) == 2 and self.name(node) not in ("SVR", "NuSVR"):
                # These two give a plain number where one output was a column
                flat = name in ("y_train_", "constant_") and array.shape[axis] == 1
                return None if flat else array.shape[axis]
        return None


def _nodes(root: Node) -> Iterator[tuple[Node, bool]]:
    """Every node of the schema, and whether its arrays are weights: those of a random generator are not.

    Without recursion: a deep schema must not end the process.
    """
    waiting: list[tuple[object, bool]] = [(root, True)]
    while waiting:
        value, weighs = waiting.pop()
        if isinstance(value, dict):
            weighs = weighs and value.get("__loader__") not in ("RandomStateNode", "RandomGeneratorNode")
            if "__class__" in value:
                yield value, weighs
            waiting.extend((each, weighs) for each in value.values())
        elif isinstance(value, list):
            waiting.extend((each, weighs) for each in value)
