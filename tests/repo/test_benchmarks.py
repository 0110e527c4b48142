"""Peers of the serving benchmark are pinned to the last package, and Sizewise never imports any of this."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

from benchmarks.common import BUDGETS, beside_aim, over_budget
from benchmarks.serving.environments import named
from benchmarks.serving.registry import PEERS as REGISTRY
from benchmarks.serving.table import FIGURES, markdown
from tests.repo.paths import ROOT, python_files, shown
from tests.repo.test_requirements import normal

PEERS = sorted(path.parent for path in (ROOT / "benchmarks/serving/peers").glob("*/requirements.in"))
PIN = re.compile(r"([A-Za-z0-9._-]+)==[0-9][^ ;]*$")


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_package_of_a_peer_is_pinned(peer: Path) -> None:

    lines = [line for line in (peer / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert not [line for line in lines if not PIN.match(line)]
    pinned = {normal(line.partition("==")[0]) for line in lines}
    assert {normal(name) for name in named(peer.name)} <= pinned


def test_the_product_does_not_know_its_benchmarks() -> None:
    naming = re.compile(r"^\s*(?:from|import) benchmarks\b", re.MULTILINE)
    assert not [shown(path) for path in python_files("src") if naming.search(path.read_text())]


def test_the_page_shows_a_record_that_is_here() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    found = FIGURES.search(page)
    assert found is not None
    record = json.loads((ROOT / "benchmarks/results" / found["result"]).read_text())
    assert found["text"] == markdown(record), "write it anew: python -m benchmarks.serving --table ... --into ..."


def test_the_page_says_what_each_peer_is_good_for() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    assert not [name for name, peer in REGISTRY.items() if f"| {name} | {peer.good_for} |" not in page]


def saved_names(path: Path) -> set[str]:
    """What a benchmark saves its results as: every text in the first argument of its calls of ``common.save``."""
    module = ast.parse(path.read_text())
    imports = [node for node in module.body if isinstance(node, ast.ImportFrom) and node.module == "benchmarks.common"]
    if not any(name.name == "save" for node in imports for name in node.names):
        return set()
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call) and ast.unparse(node.func) == "save"]
    texts = [node for call in calls for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
    names = {node.value for node in texts if isinstance(node.value, str)}
    assert names, f"{shown(path)}: the name of its results cannot be read here"
    return names


def test_every_result_has_a_budget_and_every_budget_a_result() -> None:
    saved = set().union(*(saved_names(path) for path in python_files("benchmarks")))
    assert saved == tomllib.loads(BUDGETS.read_text()).keys()


def test_a_figure_without_a_budget_is_said() -> None:
    assert over_budget("decide", "mixed_1000_ms", 1.0) is None
    assert "no limits" in str(over_budget("decide", "nobody knows", 1.0))
    assert "no limits" in str(over_budget("nobody knows", "per_s", 1.0))


def test_an_aim_is_no_less_than_its_budget() -> None:
    for name, figures in tomllib.loads(BUDGETS.read_text()).items():
        for figure, limits in figures.items():
            assert over_budget(name, figure, limits.get("aim", limits.get("least", limits.get("most")))) is None


@pytest.mark.parametrize(
    ("figure", "value", "line"),
    [
        ("rate_to_copy", 0.45, "rate_to_copy: 0.45, aim >= 0.5, missed"),
        ("rate_to_copy", 0.5, "rate_to_copy: 0.5, aim >= 0.5, met"),
        ("nobody knows", 1.0, "nobody knows: 1"),
    ],
)
def test_figures_stand_beside_their_aims(figure: str, value: float, line: str) -> None:
    assert beside_aim("binary", figure, value) == line
