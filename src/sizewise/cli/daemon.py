"""``python -m sizewise.cli.daemon``: what ``up --detach`` leaves running.

Settings come on standard input as JSON. One JSON line on standard output says that it serves; then both ends are
closed. What it has to say later is in ``logs/controller.log``.
"""

import asyncio
import os
import sys

from sizewise.cli.foreground import started_answer
from sizewise.protocols.errors import SizewiseError
from sizewise.protocols.serde import dumps, loads
from sizewise.server.run import ControllerSettings, Started, run_controller


def main() -> int:
    settings = loads(ControllerSettings, sys.stdin.buffer.read())

    def started(what: Started) -> None:
        os.write(1, dumps(started_answer(what, settings)) + b"\n")
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)

    try:
        asyncio.run(run_controller(settings, started))
    except SizewiseError as error:
        sys.stderr.write(f"sizewise: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
