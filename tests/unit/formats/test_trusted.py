"""The lists hold what exists and nothing that acts; reading files imports no framework."""

import importlib
import inspect as python_inspect
import subprocess
import sys
from pathlib import Path

import pytest

from sizewise.formats.trusted import PICKLE_TRUSTED, SKLEARN_TRUSTED

FRAMEWORKS = ("joblib", "lightgbm", "onnx", "onnxruntime", "scipy", "sklearn", "skops", "torch", "xgboost")


@pytest.mark.parametrize("name", [name for name in SKLEARN_TRUSTED if name.startswith("sklearn.")])
def test_every_name_exists(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute)


def test_no_name_of_the_system() -> None:
    packages = {name.split(".", maxsplit=1)[0] for name in PICKLE_TRUSTED}
    assert packages == {
        "__builtin__", "_codecs", "builtins", "collections", "copy_reg", "copyreg", "functools", "joblib", "numpy",
        "scipy", "sklearn",
    }  # fmt: skip
    assert not {name for name in PICKLE_TRUSTED if name.split(".")[-1] in ("eval", "exec", "getattr", "open", "load")}


def test_functions_of_scikit_learn_compute_and_nothing_else() -> None:
    """Listed functions take arrays: none of them is of the modules that read files or fetch data."""
    functions = {
        name
        for name in SKLEARN_TRUSTED
        if name.startswith("sklearn.")
        and python_inspect.isroutine(getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2]))
    }
    assert {name.rpartition(".")[0] for name in functions} == {
        "sklearn.cluster._kmeans",
        "sklearn.feature_selection._mutual_info",
        "sklearn.feature_selection._univariate_selection",
        "sklearn.metrics._classification",
        "sklearn.metrics._ranking",
        "sklearn.metrics._regression",
        "sklearn.utils.validation",
    }


def test_no_framework_is_imported(tmp_path: Path, onnx_bytes: bytes, skops_bytes: bytes, ubj_bytes: bytes) -> None:
    for name, data in {"a.onnx": onnx_bytes, "b.skops": skops_bytes, "c.ubj": ubj_bytes}.items():
        (tmp_path / name).write_bytes(data)
    program = (
        "import sys; from pathlib import Path; from sizewise.formats import inspect\n"
        "for path in Path(sys.argv[1]).iterdir(): inspect(path)\n"
        f"print(*[name for name in {FRAMEWORKS!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert not run.stdout.strip()
