"""scripts/setup.sh names what is missing in one line, with the command that helps, before it changes anything."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.repo.paths import ROOT

# A Python that is like this one but for the answer to one question of the script
STAND_IN = """#!/bin/sh
case "$*" in *{question}*) {answer} ;; esac
exec {real} "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    returncode: int
    lines: tuple[str, ...]
    venv: Path


def set_up(what: str, *, python: str, folder: Path) -> Run:
    venv = folder / "venv"
    path = f"{folder}:{os.environ['PATH']}"
    run = subprocess.run(
        ["scripts/setup.sh", what],
        cwd=ROOT,
        env={"PATH": path, "PYTHON": python, "VENV": str(venv)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return Run(returncode=run.returncode, lines=tuple((run.stdout + run.stderr).splitlines()), venv=venv)


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("question", "answer", "says"),
    [
        pytest.param(
            "version_info", "case $* in *%d*) echo 3.9;; *) exit 1;; esac; exit", "Python 3.11 to", id="too old"
        ),
        pytest.param("ensurepip", "exit 1", "apt-get install python3.", id="Debian without python3-venv"),
        pytest.param("libgomp", "exit 1", "apt-get install libgomp1", id="no libgomp1"),
    ],
)
def test_a_missing_part_is_named(tmp_path: Path, question: str, answer: str, says: str) -> None:
    program(tmp_path, "apt-get", "#!/bin/sh\nexit 1\n")
    text = STAND_IN.format(question=question, answer=answer, real=sys.executable)
    run = set_up("demo", python=str(program(tmp_path, "python", text)), folder=tmp_path)
    assert run.returncode == 1
    assert len(run.lines) == 1
    assert says in run.lines[0]
    assert not run.venv.exists()


@pytest.mark.parametrize(("version", "refused"), [((3, 10), True), ((3, 11), False), ((3, 13), False), ((3, 14), True)])
def test_python_must_have_pinned_wheels(tmp_path: Path, version: tuple[int, int], refused: bool) -> None:
    """By what this Python would answer if it were of that version."""
    claim = f"import sys; sys.version_info = (*{version}, 0)"
    text = f"""#!/bin/sh
[ "$1" = -c ] || exit 1
case "$2" in *ensurepip*) exit 1 ;; esac
exec {sys.executable} -c "{claim}; $2"
"""
    run = set_up("demo", python=str(program(tmp_path, "python", text)), folder=tmp_path)
    assert (run.returncode, len(run.lines)) == (1, 1)
    said = f"Python 3.11 to 3.13 is needed and {tmp_path}/python is {version[0]}.{version[1]}: "
    assert run.lines[0].removeprefix("set-up: ").startswith(said if refused else "Python's venv module is missing"), run


@pytest.mark.parametrize(
    ("what", "python", "says"),
    [
        pytest.param("demo", "no-such-python", "no no-such-python here", id="no interpreter"),
        pytest.param("everything", sys.executable, "demo, dev, heavy or kserve", id="unknown word"),
    ],
)
def test_a_wrong_word_is_named(tmp_path: Path, what: str, python: str, says: str) -> None:
    run = set_up(what, python=python, folder=tmp_path)
    assert (run.returncode, len(run.lines)) == (1, 1)
    assert says in run.lines[0]


def test_another_system_is_refused(tmp_path: Path) -> None:
    program(tmp_path, "uname", "#!/bin/sh\necho Darwin\n")
    run = set_up("demo", python=sys.executable, folder=tmp_path)
    assert (run.returncode, run.lines) == (1, ("set-up: Sizewise runs on Linux only for now, and this is Darwin",))
