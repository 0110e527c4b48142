"""Requirements are pinned with hashes, complete, of one mind, light, and explained."""

import re
import tomllib
from itertools import chain

import pytest

from tests.repo.paths import ROOT

FOLDER = ROOT / "requirements"
HASHED = ("demo", "dev", "heavy", "kserve")
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ]+)(?: ; (?P<marker>[^\\]+?))? \\$", re.MULTILINE)
# Each would bring the GPU libraries along: several GB
TOO_HEAVY = re.compile(r"^(?:nvidia-|cuda-|torch|tensorflow|triton$|xgboost$)")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def text(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_text()


def pins(name: str) -> set[tuple[str, str, str]]:
    return {(normal(pin["name"]), pin["version"], pin["marker"] or "") for pin in PIN.finditer(text(name))}


def direct_dependencies() -> set[str]:
    """What we chose ourselves: pyproject.toml and the requirements/*.in files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = chain.from_iterable(project["optional-dependencies"].values())
    lines = chain.from_iterable(path.read_text().splitlines() for path in FOLDER.glob("*.in") if path.stem != "heavy")
    names = {re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0] for line in (*project["dependencies"], *extras, *lines)}
    return {normal(name) for name in names if name and not name.startswith("#")} - {"sizewise"}


@pytest.mark.parametrize("name", HASHED)
def test_every_line_is_a_pin_a_hash_or_a_comment(name: str) -> None:
    allowed = re.compile(r"#|    #|[A-Za-z0-9._-]+==[^ ]+( ; [^\\]+)? \\$|    --hash=sha256:[0-9a-f]{64}( \\)?$")
    assert not [line for line in text(name).splitlines() if not allowed.match(line)]
    assert pins(name)


def test_files_that_share_an_environment_agree() -> None:
    together = pins("demo") | pins("dev") | pins("heavy")
    pinned_twice = {
        (name, marker) for name, version, marker in together for other in together
        if other[0] == name and other[2] == marker and other[1] != version
    }  # fmt: skip
    assert not pinned_twice


@pytest.mark.parametrize("name", HASHED)
def test_no_gpu_library_comes_along(name: str) -> None:
    on_linux = {package for package, _, marker in pins(name) if "sys_platform != 'linux'" not in marker}
    assert not {package for package in on_linux if TOO_HEAVY.match(package)}


def test_the_demo_has_every_core_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {normal(re.split(r"[\[<>=; ]", line, maxsplit=1)[0]) for line in project["dependencies"]}
    assert core <= {name for name, _, _ in pins("demo")}


def test_every_dependency_is_explained() -> None:
    page = (ROOT / "docs/dependencies.md").read_text().lower()
    assert not {name for name in direct_dependencies() if f"`{name}`" not in page}
