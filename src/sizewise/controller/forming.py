"""``python -m sizewise.controller.forming``: one load-ready form, in a process that can be ended at any moment.

The job comes on standard input; the answer is one JSON line: ``{"entry"}`` when the form lies in the target folder and
answers as the model does, or ``{"error"}``.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson
from setproctitle import setproctitle

from sizewise.core.profiles import ModelFacts
from sizewise.profiling.system import die_with_parent
from sizewise.protocols.errors import SizewiseError
from sizewise.protocols.serde import loads
from sizewise.runtimes import ModelFiles
from sizewise.runtimes.forms import make


@dataclass(frozen=True, slots=True, kw_only=True)
class FormJob:
    model: str
    form: str
    facts: ModelFacts
    folder: str
    target: str
    state_dir: str


def main() -> None:
    die_with_parent(os.getppid())
    os.nice(19)  # whatever serves comes first
    job = loads(FormJob, sys.stdin.buffer.read())
    setproctitle(f"sizewise form {job.model} --state-dir {job.state_dir}")
    answer_to = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what runtimes print is no answer
    facts = job.facts
    files = ModelFiles(path=Path(job.folder), entry=facts.entry, inputs=facts.inputs, outputs=facts.outputs)
    try:
        answer = {"entry": make(job.form, files, Path(job.target))}
    except SizewiseError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "out of memory"}
    answer_to.write(orjson.dumps(answer))
    answer_to.flush()


if __name__ == "__main__":
    main()
