"""A replica started by exec instead of a fork: ``python -m sizewise.replica``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from setproctitle import setproctitle

from sizewise.protocols.errors import SizewiseError
from sizewise.replica import own, program
from sizewise.replica.sockets import bind, replica_socket


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sizewise.replica")
    parser.add_argument("--replica-id", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--run-dir", required=True, type=Path)
    parser.add_argument("--state-dir", required=True, type=Path)
    given = parser.parse_args(argv)
    setproctitle(f"sizewise replica {given.model} --state-dir {given.state_dir}")
    try:
        path = replica_socket(given.run_dir, given.replica_id)
        own.prefer_in_oom()
        program.serve(bind(path), given.replica_id)
        path.unlink(missing_ok=True)
    except SizewiseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
