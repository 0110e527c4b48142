"""``python -m sizewise.controller.measuring``: one full profile, in a process that can be ended at any moment.

The job comes on standard input; the answer is one JSON line: ``{}`` when the profile was stored, or ``{"error"}``.
"""

import os
import sys
from pathlib import Path

import orjson
from setproctitle import setproctitle

from sizewise.controller.weigher import MeasureJob
from sizewise.profiling.measure import Bench, measure
from sizewise.profiling.store import ProfileStore
from sizewise.profiling.system import die_with_parent
from sizewise.protocols.errors import SizewiseError
from sizewise.protocols.serde import loads


def main() -> None:
    die_with_parent(os.getppid())
    os.nice(10)  # whoever asks for something meanwhile comes first, even in the moment before this is ended
    job = loads(MeasureJob, sys.stdin.buffer.read())
    setproctitle(f"sizewise profile {job.name} --state-dir {job.state_dir}")
    bench = Bench(cpus=job.cpus, memory_bytes=job.memory_bytes)
    answer: dict[str, str] = {}
    try:
        profile = measure(job.facts, Path(job.folder), bench, slo=job.slo, form=job.form)
        ProfileStore(Path(job.state_dir) / "profiles").put(ProfileStore.name(job.hash, profile.form), profile)
    except SizewiseError as error:
        answer["error"] = str(error)
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")


if __name__ == "__main__":
    main()
