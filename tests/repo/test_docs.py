"""Documents lead somewhere: every relative link has a target."""

import re
from pathlib import Path

import pytest

from tests.repo.paths import ROOT, repository_files, shown

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
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
