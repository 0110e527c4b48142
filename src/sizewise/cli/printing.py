"""Results on stdout, messages on stderr; tables for a terminal, plain columns for a pipe."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPE_WIDTH = 250
"""Columns where there is no terminal: nothing that somebody greps for may be cut off."""


def console(*, err: bool = False) -> "Console":
    """rich respects NO_COLOR and drops colors by itself where there is no terminal."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    return Console(stderr=err, highlight=False, width=None if stream.isatty() else PIPE_WIDTH)


def table(*columns: str, right: Sequence[str] = (), last_wraps: bool = False, gap: int = 2) -> "Table":
    """A table without lines: it reads the same on a screen, in a pipe and in a ticket."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for column in columns:
        is_last = column == columns[-1]
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=not (is_last and last_wraps),
            overflow="fold" if is_last and last_wraps else "ellipsis",
        )
    return made


def print_json(value: Any) -> None:
    """Indented, keys in the order they were made, infinity and NaN as null."""
    typer.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False))


def message(text: str) -> None:
    typer.echo(text, err=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
