"""``sizewise init``: an annotated spec to start from."""

import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from sizewise.cli.app import app
from sizewise.cli.options import Output, OutputOption

PathArgument = Annotated[Path, typer.Argument(help="File to write.")]


def template() -> str:
    """The annotated spec. Every value in it that has a default is that default; a test says so."""
    return files("sizewise.cli").joinpath("template.yaml").read_text(encoding="utf-8")


@app.command()
def init(
    path: PathArgument = Path("sizewise.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    output: OutputOption = Output.table,
) -> None:
    """Write an annotated sizewise.yaml to start from."""
    from sizewise.cli.printing import print_json
    from sizewise.protocols.errors import ConflictError

    try:
        with path.open("w" if force else "x", encoding="utf-8") as target:
            target.write(template())
    except FileExistsError as error:
        raise ConflictError(f"{path} exists: choose another name, or replace it with --force") from error
    if output is Output.json:
        print_json({"path": str(path)})
    else:
        typer.echo(f"{path} written: name your models in it, then run: sizewise up {shlex.quote(str(path))}")
