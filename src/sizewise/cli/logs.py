"""``sizewise logs``: what processes and models wrote."""

import contextlib
import json
from typing import Annotated

import typer

from sizewise.cli.app import app
from sizewise.cli.options import DEFAULT_STATE_DIR, Output, OutputOption, StateDirOption


@app.command()
def logs(
    name: Annotated[
        str | None, typer.Argument(help="A model, or keeper, gateway, warm-RUNTIME; all if absent.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written, until Ctrl-C.")] = False,
    last: Annotated[int, typer.Option("-n", "--last", min=0, help="Lines of each log to begin with.")] = 100,
    output: OutputOption = Output.table,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
) -> None:
    """Show what the processes of a system and its models wrote."""
    from sizewise import api

    with contextlib.suppress(KeyboardInterrupt):  # the ordinary end of --follow
        for line in api.logs(state_dir, name, last=last, follow=follow):
            if output is Output.json:
                typer.echo(json.dumps({"source": line.source, "text": line.text}, ensure_ascii=False))
            else:
                typer.echo(line.text if name is not None else f"{line.source}  {line.text}")
