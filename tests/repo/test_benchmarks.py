"""Peers of the serving benchmark are pinned to the last package, and Sizewise never imports any of this."""

import json
import re
from pathlib import Path

import pytest

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
