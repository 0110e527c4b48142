"""``sizewise status``: every model, what it weighs, how it does and why."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sizewise.cli.app import app
from sizewise.cli.options import DEFAULT_STATE_DIR, Output, OutputOption, StateDirOption, UrlOption, connected

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EVERY_S = 1.0


@app.command()
def status(
    output: OutputOption = Output.table,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew every second until Ctrl-C.")] = False,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    url: UrlOption = None,
) -> None:
    """Show every model: state, replicas, size, load time, latency against its goal, and why."""
    from sizewise.cli.printing import console, print_json
    from sizewise.cli.show_status import status_view

    if watch:
        _watch(state_dir, url, output)
        return
    with connected(state_dir, url) as client:
        found = client.status()
    if output is Output.json:
        print_json(found)
    else:
        screen = console()
        screen.print(status_view(found, width=screen.width))


def _watch(state_dir: Path, url: str | None, output: Output) -> None:
    """Until Ctrl-C, which is the ordinary end. A controller that restarts is waited for."""
    from rich.text import Text

    from sizewise.cli.printing import console
    from sizewise.cli.show_status import status_view
    from sizewise.protocols.errors import SizewiseError

    screen = console()
    with contextlib.suppress(KeyboardInterrupt), _live(screen) as live:
        while True:
            try:
                with connected(state_dir, url) as client:
                    found = client.status()
            except SizewiseError as error:
                found = {"error": str(error)}
            if output is Output.json:
                typer.echo(json.dumps(found))
            elif "error" in found:
                live(Text(found["error"], style="yellow"))
            else:
                live(status_view(found, width=screen.width))
            time.sleep(EVERY_S)


@contextlib.contextmanager
def _live(screen: "Console") -> "Iterator[Callable[[RenderableType], None]]":
    """Shows a view in place of the last one; one below the other where there is no terminal."""
    from rich.live import Live

    if not screen.is_terminal:
        yield screen.print
        return
    with Live(console=screen, auto_refresh=False) as live:
        yield lambda view: live.update(view, refresh=True)
