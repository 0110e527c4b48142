"""``sizewise profile``: what models weigh."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sizewise.cli.app import app
from sizewise.cli.options import DEFAULT_STATE_DIR, Output, OutputOption, UrlOption, cache_dir, connected, finite

if TYPE_CHECKING:
    from rich.console import Console

    from sizewise import api

PathsArgument = Annotated[list[Path], typer.Argument(help="Model files or folders.")]
SloOption = Annotated[
    float | None,
    typer.Option("--slo-p95-ms", callback=finite, min=0.1, help="Latency goal that best batch and requests/s are for."),
]
MeasureOption = Annotated[
    bool, typer.Option("--measure/--no-measure", help="Load and run it in a child process, or only read the file.")
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Measure again although these bytes are known.")]
StoreOption = Annotated[
    Path | None,
    typer.Option("--state-dir", envvar="SIZEWISE_STATE_DIR", help="Keep the result there rather than in your cache."),
]
TimeOption = Annotated[float, typer.Option("--time-limit", callback=finite, min=1, help="Seconds one model may take.")]
MemoryOption = Annotated[
    str | None, typer.Option("--memory-limit", help="What a model may take, such as 2GiB; all that is free if absent.")
]
RunningOption = Annotated[
    bool,
    typer.Option("--running", help="PATHS are names of deployed models: a system measures them again once it is idle."),
]


@app.command()
def profile(
    paths: PathsArgument,
    output: OutputOption = Output.table,
    measure: MeasureOption = True,
    slo_p95_ms: SloOption = None,
    fresh: FreshOption = False,
    time_limit: TimeOption = 300.0,
    memory_limit: MemoryOption = None,
    state_dir: StoreOption = None,
    running: RunningOption = False,
    url: UrlOption = None,
) -> None:
    """Show what models weigh: size, memory, load time and latency against batch, estimated and measured."""
    if running:
        _queue([str(name) for name in paths], state_dir or DEFAULT_STATE_DIR, url, output=output)
        return
    from sizewise import api
    from sizewise.cli.printing import console, print_json
    from sizewise.cli.show_profile import profile_json, profile_view, profiles_view
    from sizewise.core.slo import Slo

    options = api.ProfileOptions(
        slo=None if slo_p95_ms is None else Slo(0.95, slo_p95_ms / 1000),
        measure=measure,
        fresh=fresh,
        store=(state_dir if state_dir is not None else cache_dir()) / "profiles",
        memory_bytes=None if memory_limit is None else _size(memory_limit),
        time_s=time_limit,
    )
    reports, code = profiled(paths, options)
    if output is Output.json:
        print_json({"models": [profile_json(found) for found in reports]})
    elif len(paths) == 1:
        for found in reports:
            console().print(profile_view(found))
    elif reports:
        screen = console()
        screen.print(profiles_view(reports, width=screen.width))
    raise typer.Exit(code)


def _queue(names: Sequence[str], state_dir: Path, url: str | None, *, output: Output) -> None:
    from sizewise.cli.printing import print_json

    with connected(state_dir, url) as client:
        answers = [client.profile(name) for name in names]
    if output is Output.json:
        print_json({"models": answers})
    else:
        for answer in answers:
            typer.echo(f"{answer['name']}: {answer['state']}")


def _size(text: str) -> int:
    from sizewise.core.units import parse_bytes
    from sizewise.protocols.errors import UsageError

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise UsageError(f"--memory-limit: {error}") from error


def profiled(paths: Sequence[Path], options: "api.ProfileOptions") -> tuple[list["api.Report"], int]:
    """Whatever could be weighed, and the exit code: one that fails gets its line and does not keep others from it."""
    from sizewise.cli.printing import console, message
    from sizewise.protocols.errors import SizewiseError

    reports, code = [], 0
    for path in paths:
        try:
            reports.append(_with_progress(path, options, console(err=True)))
        except SizewiseError as error:
            message(f"sizewise: {error}")
            code = max(code, error.exit_code)
    return reports, code


def _with_progress(path: Path, options: "api.ProfileOptions", screen: "Console") -> "api.Report":
    from sizewise import api

    if not screen.is_terminal or not options.measure:
        return api.profile(path, options)
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.fields[name]}"), BarColumn(24), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("reading", total=1.0, name=path.name)
        return api.profile(
            path, options, on_progress=lambda share, stage: bar.update(task, completed=share, description=stage)
        )
