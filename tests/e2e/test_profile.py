"""``sizewise profile`` on real models, and on those that hang, grow, die or lie; never a child is left over."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from sizewise.demo.onnx_files import write_random_mlp

TENSORS = """
INPUTS = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
OUTPUTS = [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]

def predict(model, inputs):
    return {"y": inputs["x"]}
"""

# A shell may have started the tests with SIGINT ignored, which every child inherits
HEARING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from sizewise.cli.main import main
main()
"""


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def models(self) -> list[dict[str, Any]]:
        models: list[dict[str, Any]] = json.loads(self.out)["models"]
        return models


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``sizewise`` with its cache in the test's folder; fails when a process is left behind."""

    def runs(*args: str) -> Ran:
        done = subprocess.run(command(*args), env=environment(tmp_path), capture_output=True, text=True, check=False)
        assert not leftovers(tmp_path)
        return Ran(done.returncode, done.stdout, done.stderr)

    return runs


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "sizewise", *args]


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}


def leftovers(folder: Path) -> list[psutil.Process]:
    """Processes that measure for this test, told by the cache folder they inherited."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("XDG_CACHE_HOME") == str(folder / "cache"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def onnx_model(folder: Path) -> Path:
    path = folder / "small.onnx"
    write_random_mlp(path, [64, 128, 10], seed=7)
    return path


def sklearn_model(folder: Path) -> Path:
    import skops.io
    from sklearn.ensemble import RandomForestClassifier

    random = np.random.default_rng(7)
    x = random.standard_normal((200, 8))
    path = folder / "forest.skops"
    skops.io.dump(RandomForestClassifier(10, random_state=7).fit(x, x[:, 0] > 0), path)
    return path


def xgboost_model(folder: Path) -> Path:
    import xgboost

    random = np.random.default_rng(7)
    x = random.standard_normal((200, 8))
    path = folder / "boost.ubj"
    xgboost.train({"nthread": 1, "seed": 7}, xgboost.DMatrix(x, x[:, 0]), 20).save_model(path)
    return path


def lightgbm_model(folder: Path) -> Path:
    import lightgbm

    random = np.random.default_rng(7)
    x = random.standard_normal((200, 8))
    options = {"objective": "regression", "num_leaves": 7, "verbose": -1, "seed": 7, "num_threads": 1}
    path = folder / "leaves.txt"
    lightgbm.train(options, lightgbm.Dataset(x, x[:, 0]), 20).save_model(path)
    return path


def torch_model(folder: Path) -> Path:
    import torch

    path = folder / "net.pt2"
    layers = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)).eval()
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(layers, (torch.zeros(2, 8),), dynamic_shapes=shapes), path)
    return path


def python_model(folder: Path, load: str) -> Path:
    path = folder / "model.py"
    path.write_text(f"import os, signal, time\n\ndef load():\n    {load}\n{TENSORS}")
    return path


@pytest.mark.parametrize(
    "make",
    [onnx_model, sklearn_model, xgboost_model, lightgbm_model, pytest.param(torch_model, marks=pytest.mark.heavy)],
)
def test_a_real_model_is_measured(make: Callable[[Path], Path], tmp_path: Path, run: Run) -> None:
    ran = run("profile", str(make(tmp_path)), "--slo-p95-ms", "50", "-o", "json")
    assert (ran.code, ran.err) == (0, "")
    (model,) = ran.models
    measured = model["measured"]
    points = measured["curve"]["points"]
    assert [point["batch"] for point in points] == [2**i for i in range(len(points))]
    assert all(0 < point["p50_s"] <= point["p95_s"] for point in points)
    for load in filter(None, (measured["load"], measured["load_cold"])):
        assert load["fetch_s"] > 0
        assert load["load_s"] > 0
    assert measured["load"]["start_s"] > 0
    assert measured["memory"]["peak_bytes"] >= measured["memory"]["base_bytes"] + measured["memory"]["resident_bytes"]
    assert dict(measured["versions"])["python"]
    assert model["sustained"]["per_s"] > 0
    assert {"estimated", "measured", "error"} <= model["figures"][0].keys()


def test_what_is_known_is_used_until_the_bytes_change(tmp_path: Path, run: Run) -> None:
    path = onnx_model(tmp_path)
    first, second = (run("profile", str(path), "-o", "json").models[0] for _ in range(2))
    assert (first["reused"], second["reused"]) == (False, True)
    assert second["measured"] == first["measured"]
    assert run("profile", str(path), "-o", "json", "--fresh").models[0]["reused"] is False
    write_random_mlp(path, [64, 32, 10], seed=8)
    assert run("profile", str(path), "-o", "json").models[0]["reused"] is False


def test_without_measuring_nothing_runs(tmp_path: Path, run: Run) -> None:
    path = python_model(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    ran = run("profile", str(path), "--no-measure", "-o", "json")
    assert ran.code == 0
    assert ran.models[0]["measured"] is None
    assert ran.models[0]["estimate"]["source"] == "estimated"


@pytest.mark.parametrize(
    ("load", "options", "code", "said"),
    [
        pytest.param(
            "time.sleep(600)", ("--time-limit", "2"), 1, "did not finish within 2 s and was ended", id="hangs",
        ),
        pytest.param(
            "return [bytearray(os.urandom(1) * 2**20) for _ in range(10**6)]",
            ("--memory-limit", "200MiB"), 3, "while loading it but there is 200 MiB: it was ended", id="grows",
        ),
        pytest.param("os.kill(os.getpid(), signal.SIGSEGV)", (), 1, "died while loading it (signal 11)", id="dies"),
        pytest.param("os._exit(7)", (), 1, "died while loading it (exit 7)", id="exits"),
        pytest.param("raise KeyError('k')", (), 1, "load() failed: KeyError", id="raises"),
    ],
)  # fmt: skip
def test_a_model_that_misbehaves_is_ended_and_named(
    load: str, options: tuple[str, ...], code: int, said: str, tmp_path: Path, run: Run
) -> None:
    ran = run("profile", str(python_model(tmp_path, load)), *options)
    assert (ran.code, ran.out) == (code, "")
    assert "model.py" in ran.err
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_what_a_model_started_in_a_session_of_its_own_ends_with_it(tmp_path: Path, run: Run) -> None:
    note = tmp_path / "pid"
    start = "__import__('subprocess').Popen(['sleep', '600'], start_new_session=True).pid"
    path = python_model(tmp_path, f"open({str(note)!r}, 'w').write(str({start})); time.sleep(600)")
    assert run("profile", str(path), "--time-limit", "2").code == 1
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(note.read_text())).wait(timeout=10)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        pytest.param(b"", "empty.onnx", id="empty"),
        pytest.param(b"\x08\x09garbage", "broken.onnx", id="corrupt"),
        pytest.param(b"hello", "notes.xyz", id="unsupported"),
        pytest.param(b"\x80\x04K\x01.", "model.pkl", id="pickle"),
    ],
)
def test_a_file_that_is_no_model_is_one_line(content: bytes, name: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / name).write_bytes(content)
    ran = run("profile", str(tmp_path / name))
    assert (ran.code, ran.out) == (1, "")
    assert name in ran.err
    assert ran.err.count("\n") == 1


def test_one_that_fails_does_not_keep_the_others(tmp_path: Path, run: Run) -> None:
    good = onnx_model(tmp_path)
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"")
    ran = run("profile", str(bad), str(good), "-o", "json")
    assert ran.code == 1
    assert [model["path"] for model in ran.models] == [str(good)]
    assert "bad.onnx" in ran.err


def test_weights_that_do_not_fit_are_refused_before_they_are_loaded(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "wide.onnx"
    write_random_mlp(path, [1024, 1024, 10], seed=7)
    ran = run("profile", str(path), "--memory-limit", "1MiB")
    assert ran.code == 3
    assert "needs 4.0 MiB of memory but there is 1.0 MiB" in ran.err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_ending_the_command_ends_its_children(how: signal.Signals, tmp_path: Path) -> None:
    started = tmp_path / "started"
    os.mkfifo(started)
    path = python_model(tmp_path, f"open({str(started)!r}, 'w').close(); time.sleep(600)")
    with subprocess.Popen(
        [sys.executable, "-c", HEARING, "profile", str(path)],
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        with started.open():  # waits until the model's load() runs
            children = psutil.Process(running.pid).children(recursive=True)
        assert len(children) == 2
        running.send_signal(how)
        said = running.communicate(timeout=20)[1]
    assert "Traceback" not in said
    if how is signal.SIGINT:
        assert running.returncode == 130
    assert not psutil.wait_procs(children, timeout=10)[1]
