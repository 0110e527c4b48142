"""Documents lead somewhere: every relative link has a target, and commands ask the ports that are the defaults."""

import re
from pathlib import Path

import pytest

from sizewise.controller.spec import ServingSpec
from tests.repo.paths import ROOT, repository_files, shown

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PORT = re.compile(r"(?:localhost|127\.0\.0\.1):(\d+)")
GRPC_PORT = 8082
"""Off by default; the pages that turn it on choose this one."""
PAGES = [path for path in repository_files() if path.suffix == ".md"]


def broken_links(page: Path) -> list[str]:
    targets = [link.split("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link]
    return [target for target in targets if target and not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links(page: Path) -> None:
    assert not broken_links(page)


def test_root_documents_exist() -> None:
    names = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "docs/dependencies.md", "docs/limits.md")
    assert not [name for name in names if not (ROOT / name).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_examples_can_be_pasted(page: Path) -> None:
    """A page's commands go to the ports of a system that nothing was said to."""
    usual = {ServingSpec().port, ServingSpec().admin_port, GRPC_PORT}
    assert {int(port) for port in PORT.findall(page.read_text())} <= usual
