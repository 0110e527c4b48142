"""``sizewise deploy`` and its opposite, ``sizewise undeploy``."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sizewise.cli.app import app
from sizewise.cli.options import DEFAULT_STATE_DIR, Output, OutputOption, StateDirOption, UrlOption, connected, finite
from sizewise.protocols.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

NameArgument = Annotated[str, typer.Argument(help="What clients call the model.")]
Goal = Annotated[
    float | None, typer.Option(callback=finite, help="Latency goal in milliseconds; give one of the four.")
]


@app.command()
def deploy(
    name: NameArgument,
    uri: Annotated[Path | None, typer.Argument(help="Model file or folder.")] = None,
    command: Annotated[
        str | None, typer.Option(help="A server of yours instead, with {port} where its port belongs; code.")
    ] = None,
    ready_path: Annotated[
        str | None, typer.Option(help="It is ready once GET of this path answers 200 to 399.")
    ] = None,
    slo_p50_ms: Goal = None,
    slo_p90_ms: Goal = None,
    slo_p95_ms: Goal = None,
    slo_p99_ms: Goal = None,
    min_replicas: Annotated[int | None, typer.Option(help="0 lets the model sleep.")] = None,
    max_replicas: Annotated[int | None, typer.Option(help="Never more copies than this.")] = None,
    priority: Annotated[int | None, typer.Option(help="The higher one is served first when room is short.")] = None,
    timeout_s: Annotated[
        float | None, typer.Option(callback=finite, help="Deadline of a request that names none.")
    ] = None,
    max_queue: Annotated[int | None, typer.Option(help="Requests that may wait.")] = None,
    hold_s: Annotated[
        float | None, typer.Option(callback=finite, help="How long a request waits for a sleeping model.")
    ] = None,
    isolation: Annotated[str | None, typer.Option(help="auto; process: never shared; inline: in the gateway.")] = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="The model is code: run it with my rights.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Return when this version serves.")] = False,
    output: OutputOption = Output.table,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    url: UrlOption = None,
) -> None:
    """Serve a model file or a server under a name, or change one that is served.

    Goal, scaling and limits that are not given stay as they are. A command runs in this folder.
    """
    from sizewise.cli.printing import print_json

    goals = {"p50_ms": slo_p50_ms, "p90_ms": slo_p90_ms, "p95_ms": slo_p95_ms, "p99_ms": slo_p99_ms}
    scaling = {"min_replicas": min_replicas, "max_replicas": max_replicas, "priority": priority}
    wants: dict[str, Any] = {
        "name": name,
        **_source(uri, command, ready_path),
        "slo": _given(goals),
        "scaling": _given(scaling),
        "timeout_s": timeout_s,
        "max_queue": max_queue,
        "hold_s": hold_s,
        "isolation": isolation,
    }
    with connected(state_dir, url) as client:
        model = client.deploy(_given(wants), allow_code=allow_code, wait=wait)
    if output is Output.json:
        print_json(model)
    else:
        typer.echo(_outcome(model))


@app.command()
def undeploy(
    name: NameArgument,
    output: OutputOption = Output.table,
    state_dir: StateDirOption = DEFAULT_STATE_DIR,
    url: UrlOption = None,
) -> None:
    """Stop serving a model: what it has accepted is answered first."""
    from sizewise.cli.printing import print_json

    with connected(state_dir, url) as client:
        gone = client.undeploy(name)
    if output is Output.json:
        print_json(gone)
    else:
        typer.echo(f"{name}: undeployed")


def _source(uri: Path | None, command: str | None, ready_path: str | None) -> dict[str, Any]:
    """What is to be served. Raises UsageError."""
    if (uri is None) == (command is None):
        raise UsageError("give either URI or --command")
    if command is None:
        if ready_path is not None:
            raise UsageError("--ready-path belongs to --command: a model file is ready when it is loaded")
        return {"uri": str(uri.absolute())} if uri is not None else {}
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command cannot be read as a shell would: {error}") from error
    return {"command": argv, "cwd": str(Path.cwd()), "ready": {"path": ready_path} if ready_path else None}


def _given(values: "Mapping[str, Any]") -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in (None, {})}


def _outcome(model: "Mapping[str, Any]") -> str:
    from sizewise.cli.show_status import not_inline

    if model["candidate"]:
        said = f"version {model['candidate']} is being loaded beside {model['version']}"
    else:
        said = f"version {model['version']} is {model['state']}"
    return f"{model['name']}: {'; '.join(filter(None, (said, not_inline(model))))}"
