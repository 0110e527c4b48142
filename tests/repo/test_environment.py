"""Environment variables are read in the CLI only: everything below it is told."""

import ast

import pytest

from tests.repo.paths import PACKAGE, python_files, shown

READS = {"environ", "environb", "getenv", "getenvb"}


def environment_reads(source: str) -> list[int]:
    """Lines that touch the environment: os.environ, os.getenv, or either imported from os."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in READS and ast.unparse(node.value) == "os":
            found.append(node.lineno)
        if isinstance(node, ast.ImportFrom) and node.module == "os" and READS & {name.name for name in node.names}:
            found.append(node.lineno)
    return found


def test_only_the_cli_reads_the_environment() -> None:
    below = [path for path in python_files("src") if not path.is_relative_to(PACKAGE / "cli")]
    found = [f"{shown(path)}:{line}" for path in below for line in environment_reads(path.read_text())]
    assert not found, f"take the value as an argument instead: {found}"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        pytest.param("import os\nos.environ['A']", [2], id="os.environ"),
        pytest.param("import os\nos.getenv('A')", [2], id="os.getenv"),
        pytest.param("from os import environ", [1], id="imported from os"),
        pytest.param("import os\nos.getpid()", [], id="anything else of os"),
        pytest.param("config.environ", [], id="an attribute of something else"),
    ],
)
def test_reads_are_found(source: str, lines: list[int]) -> None:
    assert environment_reads(source) == lines
