"""scikit-learn models in a running system become ONNX ones, and no client can tell."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import skops.io

from sizewise import formats
from sizewise.core.forms import ONNX, Form
from sizewise.core.units import GIB
from sizewise.profiling.measure import Bench, measure
from sizewise.profiling.timing import CurveBudget
from sizewise.protocols.errors import ModelFileError
from sizewise.runtimes import ModelFiles, get_runtime
from sizewise.runtimes.forms import make
from sizewise.runtimes.sklearn_model import SklearnModel
from tests.e2e.real_models import iris
from tests.e2e.system import System, named, ready, replicas

WITHIN_S = 120.0
X, Y = iris()
NAMES = np.array(["ant", "bee", "cow"])
ODD = {"nan": [[None, 1, 1, 1]], "short": [[1, 2]], "large": [[1e300, 1, 1, 1]]}


def estimators() -> dict[str, Any]:
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "forest": RandomForestClassifier(20, random_state=0).fit(X, Y),
        "boosting": GradientBoostingClassifier(n_estimators=10, random_state=0).fit(X, NAMES[Y]),
        "scaled": make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y),
        "histograms": HistGradientBoostingClassifier(max_iter=5).fit(X, Y),
    }


@pytest.fixture
def system() -> Iterator[System]:
    with System() as made:
        yield made


def answers(client: httpx.Client, name: str) -> dict[str, Any]:
    """What clients see: metadata, both protocols, types of numbers that are cast, and refusals."""
    found: dict[str, Any] = {"metadata": client.get(f"/v2/models/{name}").json()}
    for datatype, rows in (("FP64", X[::25]), ("FP32", X[::25]), ("INT64", np.rint(X[::25]))):
        data = [float(v) if datatype != "INT64" else int(v) for v in rows.reshape(-1)]
        body = {"inputs": [{"name": "input", "shape": list(rows.shape), "datatype": datatype, "data": data}]}
        found[datatype] = client.post(f"/v2/models/{name}/infer", json=body).json()
    found["v1"] = client.post(f"/v1/models/{name}:predict", json={"instances": X[:3].tolist()}).json()
    for odd, instances in ODD.items():
        answer = client.post(f"/v1/models/{name}:predict", json={"instances": instances})
        found[odd] = (answer.status_code, answer.json())
    return found


def begin_anew(client: httpx.Client, name: str) -> None:
    client.post(f"/v2/repository/models/{name}/unload").raise_for_status()
    client.post(f"/v2/repository/models/{name}/load").raise_for_status()


def alike(mine: Any, other: Any) -> bool:
    if isinstance(mine, dict):
        return mine.keys() == other.keys() and all(alike(mine[k], other[k]) for k in mine if k != "id")
    if isinstance(mine, list | tuple):
        return len(mine) == len(other) and all(map(alike, mine, other))
    if isinstance(mine, float):
        return isinstance(other, float) and bool(np.isclose(mine, other, rtol=1e-5, atol=2e-7))
    return bool(mine == other)


async def test_they_become_onnx_and_no_client_can_tell(system: System) -> None:
    from sklearn.linear_model import LogisticRegression

    made = estimators()
    for name, estimator in made.items():
        skops.io.dump(estimator, system.models / f"{name}.skops")
    skops.io.dump(LogisticRegression(C=0.5).fit(X / 10, Y), system.models / "kept.skops")
    lines = [f"{name}: {{uri: models/{name}.skops}}" for name in made]
    system.up(system.spec("\n".join([*lines, "kept: {uri: models/kept.skops, load_ready: false}"])))
    converted = [name for name in made if name != "histograms"]
    with httpx.Client(base_url=system.status()["data_url"], timeout=120) as client:
        before = {name: answers(client, name) for name in made}
        await system.until(
            lambda seen: all(f"form {ONNX}" in (named(seen, name)["form"] or "") for name in converted),
            within_s=WITHIN_S,
        )
        seen = await system.until(lambda seen: named(seen, "histograms")["form"] is not None, within_s=WITHIN_S)
        for name in made:
            begin_anew(client, name)
        after = {name: answers(client, name) for name in made}
    for name in made:
        assert alike(before[name], after[name]), f"{name}: {before[name]} became {after[name]}"
    why = named(seen, "histograms")["form"]
    assert "no load-ready form" in why
    assert "not convertible" in why
    assert why.split(":")[1].strip() in system.ok("explain", "histograms").out
    assert named(seen, "kept")["form"] is None
    for name in converted:
        (replica,) = replicas(await system.until(ready(name)), name)
        assert "sizewise warm onnx" in " ".join(psutil.Process(psutil.Process(replica).ppid()).cmdline())


def test_what_is_measured_is_the_form(tmp_path: Path) -> None:
    """Its process has no scikit-learn, and shows it."""
    skops.io.dump(estimators()["forest"], tmp_path / "m.skops")
    facts, folder = formats.inspect(tmp_path / "m.skops"), tmp_path / "form"
    folder.mkdir()
    files = ModelFiles(path=tmp_path, entry=facts.entry, inputs=facts.inputs, outputs=facts.outputs)
    entry = make(ONNX, files, folder)
    size = (folder / entry).stat().st_size
    form = Form(name=ONNX, key="k", runtime="onnx", path=str(folder), entry=entry, disk_bytes=size, files=(entry,))
    bench = Bench(cpus=1.0, memory_bytes=GIB, budget=CurveBudget(total_s=0.5, point_s=0.05))
    profile, original = measure(facts, tmp_path, bench, form=form), measure(facts, tmp_path, bench)
    assert (profile.form, profile.facts.runtime, profile.facts.disk_bytes) == ("k", "onnx", size)
    assert profile.memory.replica_bytes < original.memory.replica_bytes
    assert "onnxruntime" in dict(profile.versions)


def test_a_model_that_would_answer_something_else_keeps_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skops.io.dump(estimators()["forest"], tmp_path / "m.skops")
    facts, predict = formats.inspect(tmp_path / "m.skops"), SklearnModel.run

    def another(model: SklearnModel, *given: Any) -> Any:
        found = predict(model, *given)
        return {**found, "predict_proba": found["predict_proba"] * (1 + 1e-4)}

    monkeypatch.setattr(SklearnModel, "run", another)
    files = ModelFiles(path=tmp_path, entry=facts.entry, inputs=facts.inputs, outputs=facts.outputs)
    (tmp_path / "form").mkdir()
    with pytest.raises(ModelFileError, match=r"no equal in ONNX: 'predict_proba' differs in .* it is served as it was"):
        make(ONNX, files, tmp_path / "form")


def test_missing_values_take_the_way_that_each_tree_says(tmp_path: Path) -> None:
    from sklearn.ensemble import RandomForestClassifier

    holes = X.copy()
    holes[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    forest = RandomForestClassifier(10, random_state=0).fit(holes, Y)
    skops.io.dump(forest, tmp_path / "m.skops")
    facts = formats.inspect(tmp_path / "m.skops")
    (tmp_path / "form").mkdir()
    files = ModelFiles(path=tmp_path, entry=facts.entry, inputs=facts.inputs, outputs=facts.outputs)
    entry = make(ONNX, files, tmp_path / "form")
    model = get_runtime("onnx").load(ModelFiles(path=tmp_path / "form", entry=entry))
    assert (model.run({"input": holes}, ("predict",))["predict"] == forest.predict(holes)).all()
