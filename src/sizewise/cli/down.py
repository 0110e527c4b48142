"""``sizewise down``: end a system."""

from typing import Annotated

import typer

from sizewise.cli.app import app
from sizewise.cli.options import DEFAULT_STATE_DIR, Output, OutputOption, StateDirOption, UrlOption, connected, finite


@app.command()
def down(
    drain_s: Annotated[
        float, typer.Option(callback=finite, min=0, help="Seconds that requests in flight have; 0 ends at once.")
    ] = 30.0,
    output: OutputOption = Output.table,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    url: UrlOption = None,
) -> None:
    """Stop everything of a system: what it has accepted is answered first.

    Returns when all of it is gone; with --url, when the system has said that it stops.
    """
    from sizewise import api
    from sizewise.cli.printing import print_json

    if url is not None:
        with connected(state_dir, url) as client:
            answer = {"url": url, **client.shutdown(drain_s)}
        print_json(answer) if output is Output.json else typer.echo(f"{url}: {answer['state']}")
        return
    stopped = api.down(state_dir, drain_s=drain_s)
    if output is Output.json:
        print_json({"state_dir": str(state_dir), "stopped": stopped})
    else:
        typer.echo(f"{state_dir}: stopped" if stopped else f"{state_dir}: nothing was running")
