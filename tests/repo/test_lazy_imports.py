"""Frameworks are extras: nothing imports one before a model needs it."""

import subprocess
import sys

import pytest

from tests.repo import pins

FRAMEWORKS = (
    "flask",
    "google.protobuf",
    "grpc",
    "joblib",
    "lightgbm",
    "numba",
    "onnx",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "scipy",
    "skl2onnx",
    "sklearn",
    "skops",
    "torch",
    "xgboost",
)

HELP = """
import sys
from sizewise.cli.main import main
sys.argv = ["sizewise", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
LIBRARY = "import sys, sizewise, sizewise.core, sizewise.protocols"


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(LIBRARY, id="import sizewise"),
        pytest.param(
            HELP, id="sizewise --help", marks=pytest.mark.skipif(not pins.has_cli(), reason="there is no CLI yet")
        ),
    ],
)
def test_no_framework_is_imported(program: str) -> None:
    report = f"\nprint('loaded:', *[name for name in {FRAMEWORKS!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program + report], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "loaded:"
