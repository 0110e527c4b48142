"""Each numbered example runs as it is written, ends in its own assertions, and leaves nothing behind."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.repo.paths import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))


def test_they_are_numbered_without_a_gap() -> None:
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    # In a folder of its own, so that whatever it leaves is found there
    done = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": _short(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout
    left = [each.pid for each in psutil.process_iter() if _short(tmp_path) in " ".join(_words(each))]
    assert not left
    assert not list(Path(_short(tmp_path)).iterdir())


def _short(tmp_path: Path) -> str:
    """A temporary folder of this test alone."""
    folder = tmp_path / "t"
    folder.mkdir(exist_ok=True)
    return str(folder)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
