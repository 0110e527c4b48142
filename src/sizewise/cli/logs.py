"""``sizewise logs``: what processes and models wrote."""

import contextlib
import json
from typing import TYPE_CHECKING, Annotated

import typer

from sizewise.cli.app import app
from sizewise.cli.options import DEFAULT_STATE_DIR, Output, OutputOption, StateDirOption, UrlOption, connected
from sizewise.protocols.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sizewise.api import LogLine


@app.command()
def logs(
    name: Annotated[
        str | None, typer.Argument(help="A model, or keeper, gateway, warm-RUNTIME; all if absent.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written, until Ctrl-C.")] = False,
    last: Annotated[int, typer.Option("-n", "--last", min=0, help="Lines of each log to begin with.")] = 100,
    output: OutputOption = Output.table,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    url: UrlOption = None,
) -> None:
    """Show what the processes of a system and its models wrote."""
    from sizewise import api

    if url is not None and follow:
        raise UsageError("--follow reads files on their machine: give --state-dir instead of --url")
    with contextlib.suppress(KeyboardInterrupt):  # the ordinary end of --follow
        if url is None:
            lines = api.logs(state_dir, name, last=last, follow=follow)
        else:
            lines = _asked(state_dir, url, name, last=last)
        for line in lines:
            if output is Output.json:
                typer.echo(json.dumps({"source": line.source, "text": line.text}, ensure_ascii=False))
            else:
                typer.echo(line.text if name is not None else f"{line.source}  {line.text}")


def _asked(state_dir: "Path", url: str, name: str | None, *, last: int) -> "Iterator[LogLine]":
    from sizewise.api import LogLine

    with connected(state_dir, url) as client:
        found = client.logs(name, last)
    if found["left_out"]:
        typer.echo(f"left out, ask for each by name: {', '.join(found['left_out'])}", err=True)
    return (LogLine(**line) for line in found["lines"])
