"""An environment for each peer, with pinned packages, kept between runs below .cache/."""

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).parent / "peers"
KEPT = ROOT / ".cache" / "serving"
SYSTEM_PYTHON = Path("/usr/bin/python3")
_VERSIONS = """
import importlib.metadata, json, platform, sys
found = {name: importlib.metadata.version(name) for name in sys.argv[1:]}
print(json.dumps({"python": platform.python_version(), **found}))
"""


class NotInstalledError(Exception):
    """Why an environment could not be made, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    python: Path
    versions: dict[str, str]
    """Of Python and of the packages that its requirements.in names."""


def environment(name: str, *, system_python: bool = False) -> Environment:
    """The environment of the peer in folder ``name``, made when it is absent or its pins have changed.

    Raises NotInstalledError. What pip said is in ``NAME.log`` beside the environment.
    """
    requirements = PEERS / name / "requirements.txt"
    base = SYSTEM_PYTHON if system_python else Path(sys.executable)
    folder, stamp = KEPT / name, KEPT / name / "made-of"
    wanted = hashlib.sha256(f"{base} {sys.version} {requirements.read_text()}".encode()).hexdigest()
    python = folder / "bin" / "python"
    if not stamp.is_file() or stamp.read_text() != wanted:
        KEPT.mkdir(parents=True, exist_ok=True)
        # Our pip installs into it: a distribution's Python may come without one
        _run([str(base), "-m", "venv", "--clear", "--without-pip", str(folder)], KEPT / f"{name}.log")
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-input"]
        _run([*pip, "--requirement", str(requirements)], KEPT / f"{name}.log")
        stamp.write_text(wanted)
    found = subprocess.run([python, "-c", _VERSIONS, *named(name)], capture_output=True, text=True, check=True)
    return Environment(python=python, versions=json.loads(found.stdout))


def named(name: str) -> list[str]:
    """Packages that the peer's requirements.in names, without extras and bounds."""
    lines = (PEERS / name / "requirements.in").read_text().splitlines()
    kept = [line for line in lines if line and not line.startswith("#")]
    return [line.partition("[")[0].partition("<")[0].strip() for line in kept]


def _run(command: list[str], log: Path) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    log.write_text(done.stdout)
    if done.returncode:
        errors = [line for line in done.stdout.splitlines() if line.startswith("ERROR:")] or done.stdout.splitlines()
        raise NotInstalledError(f"{errors[-1] if errors else 'no reason given'} (all of it: {log})")
