"""``sizewise bench``: load on a model or an address, and what it did to latency."""

import contextlib
import datetime as dt
import os
import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sizewise.cli.app import app
from sizewise.cli.options import DEFAULT_STATE_DIR, StateDirOption, UrlOption, finite

if TYPE_CHECKING:
    from sizewise.api import BenchReport
    from sizewise.core.slo import Slo


class Output(StrEnum):
    table = "table"
    json = "json"
    html = "html"


TargetArgument = Annotated[str, typer.Argument(metavar="MODEL|URL", help="A model that is served, or any address.")]
ConnectionsOption = Annotated[
    int | None, typer.Option(min=1, max=10_000, help="Alone: a closed loop over so many. Else the most to open.")
]
RateOption = Annotated[float | None, typer.Option(min=0.1, max=1e6, help="Requests a second, answered or not.")]
SecondsOption = Annotated[
    float | None, typer.Option(min=0.5, max=86_400, help="Counted time of each window; 10, or the trace's, if absent.")
]
TraceOption = Annotated[
    Path | None,
    typer.Option(
        help="CSV file: time_s,rate_per_s or timestamp_s,requests. With --rate only its shape, squeezed into --seconds."
    ),
]
LevelsOption = Annotated[
    str | None, typer.Option(help="Percent of the peak, which is measured first, such as 50,70,90.")
]
BodyOption = Annotated[Path | None, typer.Option(help="File to POST; made for a model, GET for an address, if absent.")]
BinaryOption = Annotated[bool, typer.Option("--binary", help="Make bodies with binary tensors rather than JSON.")]
RowsOption = Annotated[int | None, typer.Option(min=1, max=65_536, help="Rows in each body that is made.")]
UniformOption = Annotated[bool, typer.Option("--uniform", help="Equal gaps rather than Poisson arrivals.")]
SeedOption = Annotated[int, typer.Option(help="Of arrivals and bodies.")]
WarmupOption = Annotated[float, typer.Option(min=0, max=3600, help="Time under load before counting begins.")]
TimeoutOption = Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds after which a request has failed.")]
SloOption = Annotated[
    float | None, typer.Option("--slo-p95-ms", callback=finite, min=0.1, help="Latency goal; the model's if absent.")
]
OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="How to print the result; html is one page with pictures.")
]


@app.command()
def bench(
    target: TargetArgument,
    connections: ConnectionsOption = None,
    rate: RateOption = None,
    trace: TraceOption = None,
    levels: LevelsOption = None,
    seconds: SecondsOption = None,
    body: BodyOption = None,
    binary: BinaryOption = False,
    rows: RowsOption = None,
    uniform: UniformOption = False,
    seed: SeedOption = 7,
    warmup_s: WarmupOption = 1.0,
    timeout_s: TimeoutOption = 30.0,
    slo_p95_ms: SloOption = None,
    output: OutputOption = Output.table,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    url: UrlOption = None,
) -> None:
    """Put load on a model or an address, and show latency from when requests were due, not only from when they left.

    Without --rate, --trace or --connections: the peak, then 50, 70 and 90 percent of it. An API key of the data port
    comes from SIZEWISE_API_KEY. Exits 1 when this program, not the server, was the limit.
    """
    from sizewise import api
    from sizewise.loadgen.schedule import Spacing

    _needs_a_file(output)
    options = api.BenchOptions(
        connections=connections,
        rate_per_s=rate,
        trace=trace,
        levels=_shares(levels),
        seconds=seconds,
        warmup_s=warmup_s,
        spacing=Spacing.uniform if uniform else Spacing.poisson,
        seed=seed,
        timeout_s=timeout_s,
        slo=_slo(slo_p95_ms),
        body=body,
        binary=binary,
        rows=rows,
        headers=_headers(),
    )
    token = os.environ.get("SIZEWISE_TOKEN")
    with progress() as tell:
        report = api.bench(target, options, state_dir=state_dir, url=url, token=token, on_progress=tell)
    _show(report, output)
    raise typer.Exit(0 if report.bottleneck is None else 1)


def _needs_a_file(output: Output) -> None:
    """Said before the load runs, not after."""
    from sizewise.protocols.errors import UsageError

    if output is Output.html and sys.stdout.isatty():
        raise UsageError("a page is for a browser, not for a terminal: add > bench.html")


def _show(report: "BenchReport", output: Output) -> None:
    from sizewise.cli.bench_page import bench_page
    from sizewise.cli.printing import console, message, print_json
    from sizewise.cli.show_bench import bench_json, bench_view

    if output is Output.html:
        typer.echo(bench_page(report, now=dt.datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z")))
    elif output is Output.json:
        print_json(bench_json(report))
    else:
        out = console()
        out.print(bench_view(report, width=out.width))
    if report.bottleneck is not None:
        message(f"sizewise: the load generator was the limit, not the server ({report.bottleneck}): {ADVICE}")


PROGRESS_WIDTH = 60
ADVICE = "figures say more about it; ask for less, or run it on another machine"


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """One line that is written over. A live table would take milliseconds that requests are due in."""
    if not sys.stderr.isatty():
        yield lambda _name, _share: None
        return
    began_s, shown = 0.0, ""

    def tell(name: str, share: float) -> None:
        nonlocal began_s, shown
        if name != shown:
            began_s, shown = time.monotonic(), name
        passed_s = time.monotonic() - began_s
        left = f"{passed_s / share - passed_s:.0f} s left" if share > 0.05 else ""
        text = f"{name:<14} {'#' * round(20 * share):<20} {left}" if share < 1 else f"{name:<14} last answers"
        _write_over(text)

    try:
        yield tell
    finally:
        _write_over("")


def _write_over(text: str) -> None:
    sys.stderr.write(f"\r{text:<{PROGRESS_WIDTH}}\r")
    sys.stderr.flush()


def _shares(text: str | None) -> tuple[float, ...]:
    from sizewise.protocols.errors import UsageError

    if text is None:
        return ()
    try:
        shares = tuple(float(word) / 100 for word in text.split(","))
    except ValueError as error:
        raise UsageError(f"--levels: {text!r} is no list of percentages: write 50,70,90") from error
    if not all(0 < share <= 10 for share in shares):
        raise UsageError(f"--levels: {text!r}: each is above 0 and at most 1000 percent")
    return shares


def _slo(p95_ms: float | None) -> "Slo | None":
    from sizewise.core.slo import Slo

    return None if p95_ms is None else Slo(0.95, p95_ms / 1000)


def _headers() -> dict[str, str]:
    # No option for it: a command line is readable by everybody on the machine.
    key = os.environ.get("SIZEWISE_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}
