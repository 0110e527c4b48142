"""Answers of a replica equal the framework's own, bit for bit, called with the same batch."""

import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil
import pytest

from sizewise.demo.onnx_files import write_random_mlp
from sizewise.protocols.frames import Encoding, Flag
from sizewise.runtimes import ModelFiles
from tests.e2e.warm_replicas import Client, warm

ROWS = 5
TARGET = "m@1"
Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Case:
    runtime: str
    entry: str
    build: Callable[[Path], object]
    direct: Callable[[Path, Arrays], Arrays]
    """The framework itself, in this process."""
    inputs: Arrays
    datatype: str = "FP32"


def table(width: int, dtype: type = np.float64) -> Arrays:
    return {"input": np.random.default_rng(3).normal(size=(ROWS, width)).astype(dtype)}


def onnx_case() -> Case:
    def build(path: Path) -> None:
        write_random_mlp(path, (16, 32, 3), seed=1)

    def direct(path: Path, inputs: Arrays) -> Arrays:
        import onnxruntime

        from sizewise.runtimes.onnx_model import session_options

        options = session_options(ModelFiles(path=path.parent, entry=path.name))
        return {"y": onnxruntime.InferenceSession(str(path), options).run(["y"], inputs)[0]}

    return Case("onnx", "model.onnx", build, direct, {"x": table(16, np.float32)["input"]})


def sklearn_case() -> Case:
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(12, random_state=0).fit(*load_iris(return_X_y=True))

    def build(path: Path) -> None:
        import skops.io

        skops.io.dump(forest, path)

    def direct(path: Path, inputs: Arrays) -> Arrays:
        rows = inputs["input"]
        return {"predict": forest.predict(rows), "predict_proba": forest.predict_proba(rows)}

    return Case("sklearn", "model.skops", build, direct, table(4), "FP64")


def xgboost_case() -> Case:
    import xgboost

    rows = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    data = xgboost.DMatrix(rows, label=rows[:, 0] * 2 + rows[:, 1], feature_names=list("abcdef"))
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, data, 10)

    def direct(path: Path, inputs: Arrays) -> Arrays:
        return {"predict": booster.predict(xgboost.DMatrix(inputs["input"], feature_names=list("abcdef")))}

    return Case("xgboost", "model.ubj", lambda path: booster.save_model(str(path)), direct, table(6, np.float32))


def lightgbm_case() -> Case:
    import lightgbm

    rows = np.random.default_rng(0).normal(size=(300, 6))
    settings = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}
    data = lightgbm.Dataset(rows, label=np.arange(300) % 3)
    booster = lightgbm.train(settings, data, 10)

    def direct(path: Path, inputs: Arrays) -> Arrays:
        return {"predict": np.asarray(booster.predict(inputs["input"], num_threads=1))}

    return Case("lightgbm", "model.txt", lambda path: booster.save_model(str(path)), direct, table(6), "FP64")


def torch_case(entry: str) -> Case:
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)).eval()

    def build(path: Path) -> None:
        example = torch.zeros(2, 6)
        if path.suffix == ".pt2":
            shapes = ({0: torch.export.Dim.DYNAMIC},)
            torch.export.save(torch.export.export(network, (example,), dynamic_shapes=shapes), path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # old files are served all the same
                torch.jit.trace(network, example).save(str(path))

    def direct(path: Path, inputs: Arrays) -> Arrays:
        torch.set_num_threads(1)
        with torch.inference_mode():
            return {"y": network(torch.from_numpy(inputs["x"])).numpy()}

    return Case("torch", entry, build, direct, {"x": table(6, np.float32)["input"]})


CASES = [
    pytest.param(onnx_case, id="onnx"),
    pytest.param(sklearn_case, id="sklearn"),
    pytest.param(xgboost_case, id="xgboost"),
    pytest.param(lightgbm_case, id="lightgbm"),
    pytest.param(partial(torch_case, "model.pt2"), id="torch.export", marks=pytest.mark.heavy),
    pytest.param(partial(torch_case, "model.pt"), id="TorchScript", marks=pytest.mark.heavy),
]


@pytest.fixture(scope="module", params=CASES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    case: Case = request.param()
    folder: Path = tmp_path_factory.mktemp(case.runtime)
    case.build(folder / case.entry)
    expected = case.direct(folder / case.entry, case.inputs)
    with warm(case.runtime) as parent:
        parent.fork("r")
        with parent.client("r") as client:
            declared = {} if case.runtime != "torch" else specs(case, expected)
            report = client.load(TARGET, case.runtime, folder, case.entry, max_batch=ROWS, self_check=True, **declared)
            assert report.status == 200, report.body
            yield case, client, expected


def specs(case: Case, outputs: Arrays) -> dict[str, Any]:
    """TorchScript names neither: inspection or the user does."""

    def of(arrays: Arrays) -> list[dict[str, Any]]:
        return [{"name": n, "datatype": "FP32", "shape": [-1, *a.shape[1:]]} for n, a in arrays.items()]

    return {"inputs": of(case.inputs), "outputs": of(outputs)}


def ask(client: Client, case: Case, arrays: Arrays, **fields: Any) -> Any:
    inputs = [
        {"name": name, "datatype": case.datatype, "shape": array.shape, "data": np.ascontiguousarray(array).reshape(-1)}
        for name, array in arrays.items()
    ]
    return client.infer(TARGET, {"inputs": inputs, **fields})


def arrays_of(body: bytes | memoryview, like: Arrays) -> Arrays:
    return {
        output["name"]: np.array(output["data"], like[output["name"]].dtype).reshape(output["shape"])
        for output in orjson.loads(body)["outputs"]
    }


def equal(have: Arrays, want: Arrays) -> None:
    assert list(have) == list(want)
    for name, array in want.items():
        assert np.array_equal(have[name], array), name


def test_one_request(served: tuple[Case, Client, Arrays]) -> None:
    case, client, expected = served
    frame = client.ask(ask(client, case, case.inputs))
    assert frame.status == 200, frame.body
    equal(arrays_of(frame.body, expected), expected)


def test_rows_that_came_one_by_one(served: tuple[Case, Client, Arrays]) -> None:
    case, client, expected = served
    rows = [{name: array[i : i + 1] for name, array in case.inputs.items()} for i in range(ROWS)]
    requests = [ask(client, case, row) for row in rows]
    client.send(*requests)
    answers = client.answers(ROWS)
    assert {frame.batch for frame in answers.values()} == {ROWS}
    for i, request in enumerate(requests):
        equal(arrays_of(answers[request.request_id].body, expected), {n: a[i : i + 1] for n, a in expected.items()})


def test_raw_bytes(served: tuple[Case, Client, Arrays]) -> None:
    case, client, expected = served
    sizes = {name: array.nbytes for name, array in case.inputs.items()}
    inputs = [
        {"name": n, "datatype": case.datatype, "shape": a.shape, "parameters": {"binary_data_size": sizes[n]}}
        for n, a in case.inputs.items()
    ]
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in reversed(expected)]
    # Spaces move the tensors to every alignment
    for pad in range(8):
        head = orjson.dumps({"inputs": inputs, "outputs": outputs}) + b" " * pad
        raw = b"".join(array.tobytes() for array in case.inputs.values())
        frame = client.ask(client.infer(TARGET, head + raw, encoding=Encoding.V2_BINARY, json_bytes=len(head)))
        assert frame.status == 200, frame.body
        have = orjson.loads(frame.body[: frame.json_bytes])["outputs"]
        assert [output["name"] for output in have] == list(reversed(expected))
        want = b"".join(np.ascontiguousarray(array).tobytes() for array in reversed(expected.values()))
        assert frame.body[frame.json_bytes :] == want


def test_alone_again(served: tuple[Case, Client, Arrays]) -> None:
    """Other batch, other rounding: within what the issue of tolerances allows."""
    case, client, expected = served
    frames = []
    for i in range(ROWS):
        request = ask(client, case, {name: array[i : i + 1] for name, array in case.inputs.items()})
        request.flags = Flag.ALONE
        frames.append(client.ask(request))
    for name, array in expected.items():
        rows = np.concatenate([arrays_of(frame.body, expected)[name] for frame in frames])
        assert np.allclose(rows.astype(np.float64), array, rtol=1e-5, atol=1e-6)


def test_whole_numbers_for_tables(served: tuple[Case, Client, Arrays]) -> None:
    case, client, _ = served
    name, array = next(iter(case.inputs.items()))
    entry = {"name": name, "datatype": "INT32", "shape": array.shape, "data": [1] * array.size}
    frame = client.ask(client.infer(TARGET, {"inputs": [entry]}))
    assert frame.status == (200 if case.runtime in {"sklearn", "xgboost", "lightgbm"} else 400)


def test_a_wrong_width_never_reaches_the_model(served: tuple[Case, Client, Arrays]) -> None:
    case, client, _ = served
    name, array = next(iter(case.inputs.items()))
    frame = client.ask(ask(client, case, {name: array[:, :-1]}))
    assert frame.status == 400
    assert f"'{name}' has shape" in orjson.loads(frame.body)["error"]


@pytest.mark.parametrize(
    ("sizes", "arena"), [pytest.param((16, 32, 3), False, id="small"), pytest.param((512, 9000, 3), True, id="18 MB")]
)
def test_a_small_onnx_model_takes_no_arena_and_no_thread_of_its_own(
    tmp_path: Path, sizes: tuple[int, ...], arena: bool
) -> None:
    from sizewise.runtimes.onnx_model import open_session, session_options

    write_random_mlp(tmp_path / "m.onnx", sizes, seed=1)
    options = session_options(ModelFiles(path=tmp_path, entry="m.onnx", threads=1))
    assert options.enable_cpu_mem_arena is arena
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    before = psutil.Process().num_threads()
    session = open_session(tmp_path / "m.onnx", options)
    assert psutil.Process().num_threads() == before
    del session


def test_onnx_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """It begins to by writing down who it is, where it finds a temporary or a home folder."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    code = "from sizewise.runtimes import onnx_model; onnx_model._ort()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=100)
    assert list(tmp_path.iterdir()) == []
