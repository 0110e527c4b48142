"""``sizewise simulate``: what Sizewise and other autoscalers would have done."""

import contextlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sizewise.cli.app import app
from sizewise.cli.options import cache_dir

ScenarioArgument = Annotated[
    Path, typer.Argument(metavar="SCENARIO.yaml", help="What arrives, where, and who decides.")
]
PolicyOption = Annotated[
    str | None,
    typer.Option(help="Policies instead of the scenario's, such as sizewise,hpa:calibrated,kpa; help lists them."),
]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Of everything that is drawn; the scenario's if absent.")]


FullOption = Annotated[
    bool | None,
    typer.Option(
        "--full/--quick",
        help="Run every policy in other settings too, and the regret ladder: five to ten times the work. "
        "Full is the default of html.",
        show_default=False,
    ),
]


class Shown(StrEnum):
    table = "table"
    json = "json"
    html = "html"


ShownOption = Annotated[Shown, typer.Option("--output", "-o", help="How to print the result; html is one whole file.")]


@app.command()
def simulate(
    scenario: ScenarioArgument,
    policy: PolicyOption = None,
    seed: SeedOption = None,
    full: FullOption = None,
    output: ShownOption = Shown.table,
) -> None:
    """Replay a trace through the code that runs live, and through today's autoscalers, side by side.

    The same arrivals, service times and load times for every policy; the same seed gives the same result.
    """
    from sizewise import api

    names = None if policy is None else _names(policy)
    with _progress() as tell:
        whole = output is Shown.html if full is None else full
        found = api.simulate(
            scenario, policies=names, seed=seed, full=whole, cache=cache_dir() / "tuned", on_progress=tell
        )
    if output is Shown.json:
        from sizewise.cli.printing import print_json

        print_json(found.as_json())
    elif output is Shown.html:
        typer.echo(found.html(), nl=False)
    else:
        from sizewise.cli.printing import console
        from sizewise.cli.show_simulate import ladder_view, simulate_view

        compared = found.compared
        console().print(simulate_view(found.rows(), end_s=compared.end_s, models=compared.models))
        if found.ladder():
            console().print(ladder_view(found.ladder()))


def _names(text: str) -> list[str]:
    from sizewise.protocols.errors import UsageError
    from sizewise.simulation.parsing import policy_names

    if text == "help":
        raise UsageError(f"--policy takes names with commas between them: {', '.join(policy_names())}")
    return [name.strip() for name in text.split(",") if name.strip()]


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """A bar for each policy with the time that is left, on a terminal only."""
    from sizewise.cli.printing import console

    screen = console(err=True)
    if not screen.is_terminal:
        yield lambda _name, _share: None
        return
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    tasks: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.percentage:>3.0f}%"))
    with Progress(*columns, TimeRemainingColumn(), console=screen, transient=True) as bar:

        def tell(name: str, share: float) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=1.0)
            bar.update(tasks[name], completed=share)

        yield tell
