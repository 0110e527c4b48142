"""``up --detach``: a controller in a session of its own, and the wait until it serves."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sizewise.cli.options import Output
from sizewise.cli.printing import message, print_json
from sizewise.cli.show_up import difference_lines, started_lines, staying_lines

if TYPE_CHECKING:
    from sizewise.controller.spec import Spec
    from sizewise.server.run import ControllerSettings


def start(settings: "ControllerSettings", *, output: Output) -> int:
    """Exit code: 0 when it serves all models, that of the worst failure otherwise.

    A controller that cannot start says why in one line, which is passed on with its exit code.
    """
    from sizewise.protocols.serde import dumps, loads

    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "sizewise.cli.daemon"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,
        )
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(dumps(settings))
            child.stdin.close()
            line = child.stdout.readline()
        except BaseException:  # Ctrl-C while it starts: it drains what it has begun
            child.terminate()
            child.wait()
            raise
        if not line:
            code = child.wait()
            complaints.seek(0)
            lines = complaints.read().decode(errors="replace").strip().splitlines()
            message(lines[-1] if lines else f"sizewise: the controller ended with exit {code} and said nothing")
            return code or 1
    started: dict[str, Any] = loads(dict[str, Any], line)
    return show(started, settings.state_dir, output)


def show(started: dict[str, Any], state_dir: Path, output: Output) -> int:
    if output is Output.json:
        print_json(started)
    else:
        for line in started_lines(started, state_dir):
            typer.echo(line)
    return failures(started["difference"])


def failures(difference: dict[str, Any] | None) -> int:
    """Say what could not be deployed; the exit code that stands for it."""
    if difference is None:
        return 0
    for name, problem in difference["failed"].items():
        message(f"sizewise: model {name!r} is not served: {problem}")
    return int(difference["exit_code"])


def apply_to_running(state_dir: Path, spec: "Spec", *, prune: bool, output: Output) -> int:
    """Make what a running system serves equal ``spec``."""
    from sizewise import api

    with api.connect(state_dir=state_dir) as client:
        difference = client.apply(spec, prune=prune)
        url, stays = client.url, staying_lines(spec, client.status())
    if output is Output.json:
        print_json({"admin_url": url, "difference": difference})
    else:
        typer.echo(f"the system at {url} goes on, with this spec:")
        for line in difference_lines(difference):
            typer.echo(line)
    for line in stays:
        message(f"sizewise: {line}")
    return failures(difference)
