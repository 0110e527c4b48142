"""The tree holds for everybody: it names no folder of one machine and no package host."""

import re

import pytest

from tests.repo.paths import repository_files, shown, text_of

FORBIDDEN = {
    "a folder of one machine": re.compile(r"(?<![\w.~}])/(?:work|root|opt|home)/[\w.]"),
    "a package host": re.compile(r"pypi\.org|pythonhosted\.org|download\.pytorch\.org"),
    "an index option": re.compile(r"--(?:extra-)?index-url|--find-links|--trusted-host"),
}
EXCEPT = {
    "tests/repo/test_words.py",  # names them here
    "scripts/lock.sh",  # resolves the requirements, and says that no such line may enter them
}


def findings(text: str) -> list[str]:
    return [what for what, pattern in FORBIDDEN.items() if pattern.search(text)]


def test_nothing_is_bound_to_one_machine() -> None:
    found = {shown(path): found for path in repository_files() if (found := findings(text_of(path) or ""))}
    assert not {name: what for name, what in found.items() if name not in EXCEPT}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("see /root/x", ["a folder of one machine"], id="home of root"),
        pytest.param("see /home/ada/x", ["a folder of one machine"], id="home of somebody"),
        pytest.param("./work/x and ~/work/x", [], id="relative"),
        pytest.param("https://pypi.org/simple", ["a package host"], id="host"),
        pytest.param("--index-url x", ["an index option"], id="option"),
    ],
)
def test_findings(text: str, found: list[str]) -> None:
    assert findings(text) == found
