"""The wheel is whole: it carries what it should and nothing else, and runs without a checkout."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import sizewise
from tests.repo import pins
from tests.repo.paths import PACKAGE, ROOT, repository_files


def build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def test_contents(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"sizewise-{sizewise.__version__}.dist-info"
    ours = {path.relative_to(PACKAGE.parent).as_posix() for path in repository_files() if path.is_relative_to(PACKAGE)}
    assert ours <= names
    assert {"sizewise/py.typed", f"{info}/licenses/LICENSE", f"{info}/entry_points.txt"} <= names
    assert not {name for name in names if not name.startswith(("sizewise/", f"{info}/"))}


def constraints() -> str:
    """The pins of the demo without their hashes: a wheel built a moment ago has no hash to be known by."""
    pinned = re.findall(r"^([A-Za-z0-9._-]+==[^\\\n]+) \\$", (ROOT / "requirements/demo.txt").read_text(), re.MULTILINE)
    return "\n".join(pinned)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an empty environment with the wheel and what it asks for, far from the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "constraints.txt").write_text(constraints())
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=120)
    bin_folder = folder / "venv/bin"
    install = [str(bin_folder / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-c", str(folder / "constraints.txt"), f"{wheel}[demo]"], check=True, timeout=600)
    return bin_folder


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.skipif(not pins.has_cli(), reason="there is no CLI yet")
def test_installed_wheel_helps(installed: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [installed / "sizewise", "--help"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert "Usage" in run.stdout


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_installed_wheel_imports(installed: Path, tmp_path: Path) -> None:
    code = "import sizewise, sizewise.core, sizewise.protocols; print(sizewise.__version__)"
    run = subprocess.run([installed / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == sizewise.__version__


def used(installed: Path, folder: Path, *args: str) -> str:
    """A command of the installed wheel, in a folder far from the checkout; what it printed."""
    environment = {"PATH": f"{installed}:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    command = [str(installed / "sizewise"), *args]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=400)
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    return run.stdout


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_installed_wheel_runs_the_demo_profiles_and_serves(installed: Path, tmp_path: Path) -> None:
    state = ".sizewise-demo/state"
    kept = used(installed, tmp_path, "demo", "--seconds", "10", "--keep")
    assert f"sizewise down --state-dir {state}" in kept
    report = json.loads((tmp_path / ".sizewise-demo/report.json").read_text())
    assert len(report["models"]) >= 10
    assert 0 < report["memory_budget_bytes"] < report["models_sum_bytes"]
    running = json.loads(used(installed, tmp_path, "status", "--state-dir", state, "-o", "json"))
    assert {each["name"] for each in running["models"]} == {each["name"] for each in report["models"]}
    left = used(installed, tmp_path, "demo", "--seconds", "10")
    assert f"sizewise up .sizewise-demo/sizewise.yaml --state-dir {state}" in left
    assert "nothing was running" in used(installed, tmp_path, "down", "--state-dir", state)
    model = next((tmp_path / ".sizewise-demo/models").rglob("*.onnx"))
    (profile,) = json.loads(used(installed, tmp_path, "profile", str(model), "-o", "json"))["models"]
    assert profile["estimate"]["facts"]["disk_bytes"] > 0
    try:
        used(installed, tmp_path, "up", str(model.parent), "--detach", "--port", "0", "--admin-port", "0")
        status = json.loads(used(installed, tmp_path, "status", "-o", "json"))
        assert [each["name"] for each in status["models"]]
    finally:
        assert "stopped" in used(installed, tmp_path, "down")
