"""``sizewise explain``: why a model has the replicas it has."""

from typing import Annotated

import typer

from sizewise.cli.app import app
from sizewise.cli.options import DEFAULT_STATE_DIR, Output, OutputOption, StateDirOption, UrlOption, connected


@app.command()
def explain(
    name: Annotated[str, typer.Argument(help="Name of a model.")],
    last: Annotated[int, typer.Option("-n", "--last", min=1, max=1000, help="How many decisions.")] = 5,
    output: OutputOption = Output.table,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    url: UrlOption = None,
) -> None:
    """Show the last decisions about a model: inputs, binding rule, alternatives refused, effect."""
    from sizewise.cli.printing import console, print_json
    from sizewise.cli.show_explain import explain_view

    with connected(state_dir, url) as client:
        found = client.explain(name, last)
    if output is Output.json:
        print_json(found)
    else:
        console().print(explain_view(found))
