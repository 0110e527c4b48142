"""Public names and CLI options are pinned: changing one is a decision, and a changelog line."""

import importlib
from enum import Enum
from pathlib import Path
from typing import Annotated

import pytest
import typer

from tests.repo import pins

HOW = "if this is meant: .venv/bin/python -m tests.repo.pins, and a line in CHANGELOG.md"


def test_public_names() -> None:
    assert pins.public_names() == pins.pinned(pins.PUBLIC_NAMES_FILE), HOW


@pytest.mark.parametrize("module", pins.PUBLIC_MODULES)
def test_every_public_name_exists(module: str) -> None:
    imported = importlib.import_module(module)
    missing = [name for name in getattr(imported, "__all__", ()) if not hasattr(imported, name)]
    assert not missing


def test_cli_options() -> None:
    assert pins.cli_options() == pins.pinned(pins.CLI_FILE), HOW


class Output(Enum):
    table = "table"
    json = "json"


def test_options_are_described() -> None:
    """On a small CLI with each kind of parameter, since the real one may lack a kind."""
    app = typer.Typer()

    @app.command()
    def up(
        spec: Path,
        paths: list[str],
        *,
        output: Annotated[Output, typer.Option("-o", "--output")] = Output.table,
        port: int | None = None,
        detach: bool = False,
    ) -> None: ...

    @app.command(hidden=True)
    def keeper() -> None: ...

    assert list(pins.command_lines(typer.main.get_command(app), "x")) == [
        "x",
        "x keeper (hidden)",
        "x up",
        "x up PATHS list[str] required",
        "x up SPEC Path required",
        "x up --detach/--no-detach bool default=False",
        "x up -o/--output table|json default=table",
        "x up --port int default=None",
    ]
