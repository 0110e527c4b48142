"""``up`` without ``--detach``: serve until Ctrl-C, and tell what is decided meanwhile."""

import asyncio
import os
import signal
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import typer

from sizewise.cli.detached import show
from sizewise.cli.options import Output
from sizewise.cli.printing import message
from sizewise.protocols.errors import SizewiseError
from sizewise.protocols.serde import to_jsonable
from sizewise.server.run import ControllerSettings, Started, run_controller

LOOK_EVERY_S = 1.0


def run(settings: ControllerSettings, *, output: Output) -> None:
    """Until Ctrl-C, SIGTERM or ``sizewise down``; returns when everything has ended."""
    asyncio.run(run_controller(settings, _Foreground(settings, output).started))


def started_answer(started: Started, settings: ControllerSettings) -> dict[str, Any]:
    """What there is to say, as the JSON that ``-o json`` prints."""
    tls = settings.serving.tls
    answer: dict[str, Any] = to_jsonable(started.holder)
    difference = None if started.difference is None else to_jsonable(started.difference)
    answer["tls_cert"] = None if tls is None else tls.cert
    return {**answer, "adopted": started.adopted, "difference": difference, "models": _served(difference)}


def _served(difference: Mapping[str, Any] | None) -> list[str]:
    if difference is None:
        return []
    return sorted(name for kind in ("added", "changed", "unchanged", "kept") for name in difference[kind])


class _Foreground:
    def __init__(self, settings: ControllerSettings, output: Output) -> None:
        self._settings = settings
        self._output = output
        self._tasks: list[asyncio.Task[None]] = []
        self._interrupts = 0

    def started(self, what: Started) -> None:
        """Called in the loop, once everything runs."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        self._tasks.append(loop.create_task(self._tell(started_answer(what, self._settings))))

    def _interrupted(self) -> None:
        self._interrupts += 1
        if self._interrupts == 1:
            message("stopping: requests in flight are answered first; Ctrl-C again ends at once")
            # The controller's own way to stop, which it hears from `kill` as well.
            os.kill(os.getpid(), signal.SIGTERM)
        elif self._interrupts == 2:
            message("ending at once")
            self._tasks.append(asyncio.get_running_loop().create_task(self._force()))

    async def _force(self) -> None:
        from sizewise.backends.local.launch import stop_everything

        await stop_everything(self._settings.state_dir, 0)

    async def _tell(self, answer: dict[str, Any]) -> None:
        # In a thread: the example request is read from the data port, which this very process may be asked about.
        await asyncio.to_thread(show, answer, self._settings.state_dir, self._output)
        before: dict[str, Any] = {}
        while True:
            now = await asyncio.to_thread(self._models)
            for line in decision_lines(before, now):
                typer.echo(line, err=True)
            before = now or before
            await asyncio.sleep(LOOK_EVERY_S)

    def _models(self) -> dict[str, Any]:
        from sizewise import api

        try:
            with api.connect(state_dir=self._settings.state_dir) as client:
                return {model["name"]: model for model in client.status()["models"]}
        except SizewiseError:
            return {}  # on its way out


def decision_lines(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """One line for each model whose desired replicas or state changed."""
    at = datetime.now().astimezone()
    return [
        f"{at:%H:%M:%S} {name}: {_counts(model)}, {model['state']}: {model['reason']}"
        for name, model in now.items()
        if name in before and _key(model) != _key(before[name])
    ]


def _key(model: Mapping[str, Any]) -> tuple[Any, ...]:
    return model["replicas"]["desired"], model["state"], model["version"]


def _counts(model: Mapping[str, Any]) -> str:
    return f"{model['replicas']['ready']} of {model['replicas']['desired']} ready"
