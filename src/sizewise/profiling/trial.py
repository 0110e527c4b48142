"""One load and what follows, in a process of its own: stages of the load, memory, latency against batch."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from sizewise.core.forms import Form
from sizewise.core.profiles import BatchPoint
from sizewise.core.tensors import TensorSpec
from sizewise.profiling.system import peak_anonymous_bytes
from sizewise.profiling.timing import CurveBudget, goes_on, point, sample
from sizewise.runtimes import LoadedModel, ModelFiles, Runtime
from sizewise.runtimes.base import FormFiles, FormRuntime
from sizewise.runtimes.forms import has_second, load_last
from sizewise.runtimes.synthetic import assumed, synthetic
from sizewise.system.memory import give_back_memory, mapped_bytes, private_bytes, shared_anon_bytes, status_bytes
from sizewise.system.pagecache import read_ahead

Send = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """``label`` names its results. ``largest`` is the last batch size to try; 0 stops after warming up."""

    label: str
    threads: int
    largest: int
    only_below_s: float | None = None
    """Go on after batch 1 only when its median is below this: more threads must pay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The model under trial."""

    runtime: str
    path: str
    entry: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    budget: CurveBudget
    memory_bytes: int
    """Larger batches stop before private memory passes this."""
    reads: tuple[str, ...]
    """All files that are read to load it, relative to ``path``."""
    form: Form | None = None
    """Opened in place of the files."""

    @property
    def paths(self) -> list[str]:
        return [str(Path(self.path) / name) for name in self.reads]

    def files(self, threads: int) -> ModelFiles:
        form = self.form
        return ModelFiles(
            path=Path(self.path),
            entry=self.entry,
            threads=threads,
            inputs=self.inputs,
            outputs=self.outputs,
            form=FormFiles(name=form.name, path=Path(form.path), entry=form.entry) if form else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    parent_pid: int
    subject: Subject
    cpus: int
    batchable: bool


def run_trial(runtime: Runtime, subject: Subject, trial: Trial, *, forked_s: float, send: Send) -> None:
    """``forked_s`` is when the decision to start this process was taken, on the clock of ``time.monotonic``."""
    start_s = time.monotonic() - forked_s
    base = private_bytes()
    send("stage", stage="loading it")
    began_s = time.monotonic()
    files = subject.files(trial.threads)
    for path in subject.paths:
        read_ahead(path)
    fetch_s = time.monotonic() - began_s
    began_s = time.monotonic()
    model = _open(runtime, files)
    load_s = time.monotonic() - began_s
    send("stage", stage="answering the first call")
    inputs = synthetic(model.signature.inputs, 1)
    began_s = time.monotonic()
    model.run(inputs, ())
    warmup_s = time.monotonic() - began_s
    two, second_s = trial.largest > 0 and has_second(subject.runtime, files), 0.0
    if two:
        send("stage", stage="opening its second session")
        began_s = time.monotonic()
        model = load_last(subject.runtime, files)
        model.run(inputs, ())
        second_s = time.monotonic() - began_s
        give_back_memory()
    private, peak = _memory()
    send(
        "loaded",
        label=trial.label,
        load={"start_s": start_s, "fetch_s": fetch_s, "load_s": load_s, "warmup_s": warmup_s},
        base_bytes=base,
        private_bytes=private,
        mapped_bytes=sum(map(mapped_bytes, files.folders)),
        second_s=second_s,
        peak_bytes=peak,
        assumed=assumed(model.signature.inputs),
    )
    if trial.largest:
        largest = _curve(model, subject, trial, send=send)
        if two and largest:
            del model
            same = replace(trial, largest=largest, only_below_s=None)
            _curve(_open(runtime, files), subject, same, send=send, first=True)


def _open(runtime: Runtime, files: ModelFiles) -> LoadedModel:
    if files.form is not None and isinstance(runtime, FormRuntime):
        return runtime.load_form(files, second=False)
    return runtime.load(files)


def _curve(model: LoadedModel, subject: Subject, trial: Trial, *, send: Send, first: bool = False) -> int:
    """The largest batch that was measured; 0 when its label is out of the question. ``first`` of two sessions."""
    budget, points, batch = subject.budget, list[BatchPoint](), 1
    ends_s = time.monotonic() + budget.total_s
    while True:
        send("stage", stage=f"measuring batch {batch} with {trial.threads} threads")
        inputs = synthetic(model.signature.inputs, batch)
        samples = sample(partial(model.run, inputs, ()), budget, time.perf_counter)
        # The first call at a size allocates; the median does not mind, the 95th percentile of few samples would.
        points.append(point(batch, samples[1:]))
        private, peak = _memory()
        send(
            "point",
            label=trial.label,
            first=first,
            point={"batch": batch, **_spread(points[-1])},
            private_bytes=private,
            peak_bytes=peak,
        )
        too_slow = trial.only_below_s is not None and points[0].p50_s >= trial.only_below_s
        if too_slow:
            return 0
        if 2 * batch > trial.largest or 2 * private > subject.memory_bytes:
            return batch
        if not goes_on(points, budget, left_s=ends_s - time.monotonic()):
            return batch
        batch *= 2


def _memory() -> tuple[int, int]:
    """Private bytes now, and the most there have been.

    Pages still shared with the process that forked this one are left out: a replica shares them with its warm parent,
    which is charged for them.
    """
    status, shared = status_bytes(), shared_anon_bytes()
    return max(0, status.get("RssAnon", 0) - shared), max(0, peak_anonymous_bytes(status) - shared)


def _spread(measured: BatchPoint) -> dict[str, float | int]:
    return {"p50_s": measured.p50_s, "p95_s": measured.p95_s, "samples": measured.samples}
