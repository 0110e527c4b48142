"""``python -m benchmarks.fidelity.system``: a detached controller with a budget of its own.

As ``sizewise up --detach`` leaves it running, but for what it takes the machine to have: models that only wait may have
more cores than there are.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from sizewise import api
from sizewise.controller.view import Budget
from sizewise.protocols.serde import dumps, loads
from sizewise.server.run import ControllerSettings, Started, run_controller


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    settings: ControllerSettings
    budget: Budget


@contextlib.contextmanager
def running(wanted: Wanted) -> Iterator[str]:
    """The address of its data port, until the block ends."""
    state_dir = wanted.settings.state_dir
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "benchmarks.fidelity.system"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(dumps(wanted))
            process.stdin.close()
            url = process.stdout.readline().decode().strip()
            assert url, "it says on standard error why it did not start"
            yield url
        finally:
            api.down(state_dir)


def main() -> None:
    wanted = loads(Wanted, sys.stdin.buffer.read())

    def started(what: Started) -> None:
        os.write(1, what.holder.data_url.encode() + b"\n")

    asyncio.run(run_controller(wanted.settings, started, budget=wanted.budget))


if __name__ == "__main__":
    main()
