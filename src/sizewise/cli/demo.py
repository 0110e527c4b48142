"""``sizewise demo``: the main job, on real models, in a few minutes."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sizewise.cli.app import app
from sizewise.cli.options import Output, OutputOption
from sizewise.cli.printing import console, message, print_json

if TYPE_CHECKING:
    from sizewise.api.client import Answer, Client
    from sizewise.core.profiles import ModelProfile
    from sizewise.demo.models import DemoModel
    from sizewise.demo.run import Run
    from sizewise.demo.timeline import Moment

DEFAULT_FOLDER = Path(".sizewise-demo")
PLAIN_EVERY_S = 5.0
WEIGH_S = 20.0
"""One model may take so long to be measured: enough on a quiet machine, and the demo stays within its four minutes."""


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=10, max=3600, help="How long traffic is replayed.")] = 120.0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end.")] = False,
    folder: Annotated[Path, typer.Option("--folder", help="Where models, state and report.json go.")] = DEFAULT_FOLDER,
    output: OutputOption = Output.table,
) -> None:
    """Serve 15 real models, a few KB to 540 MB, under uneven traffic in less memory than all of them take."""
    import asyncio

    from sizewise import api
    from sizewise.demo.models import MODELS
    from sizewise.demo.run import Run, write_report, write_spec
    from sizewise.demo.show import many_lost, report_view
    from sizewise.protocols.serde import to_jsonable

    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state"
    # A run that was cut off may have left its system up; each demo starts from nothing but models and their profiles.
    _sizewise("down", "--state-dir", str(state))
    for left in state.glob("state.db*"):
        left.unlink()
    _build(folder, MODELS)
    weighed = weigh(folder, state, MODELS)
    spec = write_spec(folder, MODELS)
    message("starting: sizewise up " + shlex.quote(str(spec)))
    _sizewise("up", str(spec), "--state-dir", str(state), "--detach")
    run = Run(seconds=seconds, weighed=weighed)
    try:
        with api.connect(state_dir=state) as client:
            message(f"replaying {seconds:g} s of traffic against {client.status()['data_url']}")
            status = asyncio.run(_watched(run, client))
        report = run.report(status)
        write_report(report, folder / "report.json")
    finally:
        if not keep:
            _sizewise("down", "--state-dir", str(state))
    if output is Output.json:
        print_json(to_jsonable(report))
    else:
        out = console()
        out.print(report_view(report, run.timeline, width=out.width))
        out.print(_next(folder, state, keep=keep), highlight=False)
    if lost := many_lost(report):
        message(f"{lost}: sizewise logs --state-dir {shlex.quote(str(state))}")


async def _watched(run: "Run", client: "Client") -> "Answer":
    """A live table on a terminal, one plain line every few seconds without."""
    from rich.live import Live

    from sizewise.demo.show import live_view, plain_line

    err = console(err=True)
    if not err.is_terminal:
        shown_s = -PLAIN_EVERY_S

        def tell(moment: "Moment") -> None:
            nonlocal shown_s
            if moment.at_s - shown_s >= PLAIN_EVERY_S:
                shown_s = moment.at_s
                message(plain_line(moment))

        return await run.go(client, tell)
    with Live(console=err, transient=True, auto_refresh=False) as live:
        return await run.go(client, lambda moment: live.update(live_view(moment), refresh=True))


def _build(folder: Path, models: "tuple[DemoModel, ...]") -> None:
    from sizewise.demo.models import build_all

    for model, made in build_all(folder / "models", models):
        if made:
            message(f"built {model.name}: {model.what}")


def weigh(
    folder: Path, state: Path, models: "tuple[DemoModel, ...]", *, limit_s: float = WEIGH_S
) -> "dict[str, ModelProfile]":
    """Measure what each model weighs, once; a later run finds the measurements.

    A slow disk or busy cores are no reason to end: what was not measured is served from its estimate.
    """
    from sizewise import api
    from sizewise.cli.profile import profiled
    from sizewise.cli.show_profile import profiles_view

    names = {str(folder / "models" / model.uri): model.name for model in models if not model.command}
    message(f"weighing {len(names)} models (remembered for the next run)")
    options = api.ProfileOptions(store=state / "profiles", time_s=limit_s)
    reports, failed = profiled([Path(path) for path in names], options)
    screen = console(err=True)
    if reports:
        screen.print(profiles_view(reports, width=screen.width))
    if failed:
        message("not every model could be measured (see above): those go on with their estimates")
    return {names[found.path]: found.measured for found in reports if found.measured is not None}


def _sizewise(*args: str) -> None:
    """Run one of our own commands as a user would. Raises typer.Exit with its code when it fails."""
    command = [sys.executable, "-m", "sizewise", *args]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False, timeout=600)
    if done.returncode:
        raise typer.Exit(done.returncode)


def _next(folder: Path, state: Path, *, keep: bool) -> str:
    where = f"--state-dir {shlex.quote(str(state))}"
    lines = [
        f"report: {folder / 'report.json'}",
        "",
        "next:",
    ]
    if keep:
        lines += [
            f"  sizewise status {where}",
            f"  sizewise explain atlas {where}",
            f"  sizewise down {where}",
        ]
    else:
        lines += [
            f"  sizewise up {shlex.quote(str(folder / 'sizewise.yaml'))} {where}",
            f"  sizewise explain atlas {where}",
            "  sizewise init",
        ]
    return "\n".join(lines)
