"""``sizewise convert``: a pickle, which is code, into a file that is only a model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sizewise.cli.app import app
from sizewise.cli.options import Output

if TYPE_CHECKING:
    from sizewise import api

SourceArgument = Annotated[Path, typer.Argument(help="scikit-learn model, pickled by pickle or joblib.")]
TargetOption = Annotated[Path | None, typer.Option("--out", "-o", help="File to write: NAME.skops.")]
TrustOption = Annotated[
    list[str] | None, typer.Option("--trust", help="A type of the pickle that you know to be safe; repeatable.")
]
FormatOption = Annotated[Output, typer.Option("--output", help="How to print the result.")]


@app.command()
def convert(
    source: SourceArgument,
    out: TargetOption = None,
    trust: TrustOption = None,
    output: FormatOption = Output.table,
) -> None:
    """Convert a pickled scikit-learn model to skops, in a child process, and check that it answers the same."""
    from sizewise import api
    from sizewise.cli.printing import print_json
    from sizewise.core.units import format_bytes
    from sizewise.protocols.serde import to_jsonable

    target = out or source.with_suffix(".skops")
    names = tuple(trust or ())
    report = _asking(source, target, names) if sys.stdin.isatty() else api.convert(source, target, trusted=names)
    if output is Output.json:
        print_json(to_jsonable(report))
        return
    typer.echo(f"{report.target}: {report.estimator}, {format_bytes(report.facts.disk_bytes)}")
    for name in report.names:
        typer.echo(f"  {name}{' (you vouched for it)' if name in report.consented else ''}")
    checked = f"{report.checked_rows} random rows answered the same" if report.checked_rows else "answers not compared"
    typer.echo(f"  {checked}")
    for note in report.notes:
        typer.echo(f"  note: {note}")


def _asking(source: Path, target: Path, trusted: tuple[str, ...]) -> "api.ConvertReport":
    """Ask for what is not known safe, once; without a terminal the error says which --trust to give."""
    from sizewise import api
    from sizewise.cli.printing import message

    try:
        return api.convert(source, target, trusted=trusted)
    except api.UntrustedTypesError as error:
        message(f"{source} names types that are not known safe:")
        for name in error.types:
            message(f"  {name}")
        if not typer.confirm("Do you know that all of them are?", err=True):
            raise
        return api.convert(source, target, trusted=(*trusted, *error.types))
