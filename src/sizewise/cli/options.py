"""Options that several commands share, and the environment variables that stand in for them."""

import math
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sizewise.api import Client


class Output(StrEnum):
    table = "table"
    json = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print the result.")]
StateDirOption = Annotated[
    Path,
    typer.Option("--state-dir", envvar="SIZEWISE_STATE_DIR", help="Folder that holds everything of one system."),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="SIZEWISE_URL",
        help="Admin address of a running system, instead of --state-dir; the token comes from SIZEWISE_TOKEN.",
    ),
]
DEFAULT_STATE_DIR = Path(".sizewise")


def finite(value: float | None) -> float | None:
    """For numbers without an upper limit: JSON, which some are sent in, has neither NaN nor infinity."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no finite number")
    return value


def connected(state_dir: Path, url: str | None) -> "Client":
    from sizewise.api import connect

    # No option for the token: a command line is readable by everybody on the machine.
    return connect(state_dir=state_dir, url=url, token=os.environ.get("SIZEWISE_TOKEN"))


def cache_dir() -> Path:
    """Where profiles are kept without a state directory: $XDG_CACHE_HOME/sizewise."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    root = Path(named) if named.startswith("/") else Path.home() / ".cache"
    return root / "sizewise"
