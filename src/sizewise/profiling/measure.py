"""Measuring a model in a child process: the parent's side."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from sizewise.core.forms import MAPPED, PACKED, Form, as_opened, steady
from sizewise.core.profiles import (
    BatchPoint,
    LatencyCurve,
    LoadTime,
    Memory,
    ModelFacts,
    ModelProfile,
    Source,
    Stage,
    ThreadCurve,
)
from sizewise.core.sizing import capacity_of
from sizewise.core.slo import Slo
from sizewise.profiling.system import describe_machine
from sizewise.profiling.timing import MAX_BATCH, CurveBudget
from sizewise.profiling.trial import Job, Subject
from sizewise.profiling.watch import Child, Limits, Message, run_child
from sizewise.protocols.errors import ModelFileError
from sizewise.protocols.serde import from_jsonable, to_jsonable

OnProgress = Callable[[float, str], None]
"""Called with a share from 0 to 1 and what is being done."""

SPARE_SHARE = 0.5
"""Batches grow until this share of the memory limit is used: the next one may need twice as much."""


CURVE_SHARE = 0.25
"""Of the time allowed, for one curve: there may be two, and loads before and after them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a model is measured on, and within which limits."""

    cpus: float
    memory_bytes: int
    """Private memory the model may take; it is ended above."""
    time_s: float = 300.0
    budget: CurveBudget = field(default_factory=CurveBudget)
    kind: str = ""
    """Names this kind of machine where ``memory_bytes`` is not all of its memory."""

    @property
    def machine(self) -> str:
        return self.kind or describe_machine(cpus=self.cpus, memory_bytes=self.memory_bytes)


@dataclass(slots=True)
class _Run:
    """What the trials of one label have shown so far."""

    loaded: Message | None = None
    points: list[tuple[BatchPoint, int, int]] = field(default_factory=list)
    """(point, private bytes after it, highest private bytes until then), of the session that was opened last."""
    first: list[BatchPoint] = field(default_factory=list)
    """Of the session before it, where there are two."""


def measure(
    facts: ModelFacts,
    folder: Path,
    bench: Bench,
    *,
    slo: Slo | None = None,
    form: Form | None = None,
    on_progress: OnProgress | None = None,
) -> ModelProfile:
    """Load and run the model whose files lie in ``folder``, from its load-ready ``form`` where it has one.

    ``slo`` decides how far the peak of memory counts: up to the best batch inside it. Raises ModelFileError when the
    model fails, hangs or dies, DoesNotFitError when it takes more memory than ``bench`` has, RuntimeMissingError.
    """
    key, deployed = form.key if form else "", facts.runtime
    facts = as_opened(facts, form)
    if form is not None and form.runtime != deployed:
        folder, form = Path(form.path), None  # a model of its own, of the runtime that opens it
    if facts.runtime is None or facts.runtime == "command":
        raise ModelFileError(facts.entry or str(folder), "cannot be measured: no runtime runs this format")
    runs: dict[str, _Run] = {}
    notes: dict[str, Message] = {}
    child = Child(
        argv=(sys.executable, "-m", "sizewise.profiling.child"),
        name=facts.entry or folder.name,
        limits=Limits(time_s=bench.time_s, memory_bytes=bench.memory_bytes),
    )
    collect = _collector(runs, notes, on_progress or _silent)
    run_child(child, to_jsonable(_job(facts, folder, bench, form=form)), collect)
    return replace(_profile(facts, bench, runs, notes=notes, slo=slo), form=key)


def _job(facts: ModelFacts, folder: Path, bench: Bench, *, form: Form | None) -> Job:
    files = facts.files or (facts.entry,)
    if form is not None:
        files = tuple(str(path) for path in Path(form.path).iterdir())
    subject = Subject(
        runtime=facts.runtime or "",
        form=form,
        path=str(folder.resolve()),
        entry=facts.entry,
        inputs=facts.inputs,
        outputs=facts.outputs,
        budget=replace(bench.budget, total_s=min(bench.budget.total_s, CURVE_SHARE * bench.time_s)),
        memory_bytes=int(bench.memory_bytes * SPARE_SHARE),
        reads=files,
    )
    return Job(
        parent_pid=os.getpid(),
        subject=subject,
        cpus=max(1, int(bench.cpus)),
        batchable=facts.batchable,
    )


def _collector(runs: dict[str, _Run], notes: dict[str, Message], on_progress: OnProgress) -> Callable[[Message], None]:
    share, stage = 0.0, ""

    def collect(message: Message) -> None:
        nonlocal share, stage
        event = message["event"]
        run = runs.setdefault(message["label"], _Run()) if event in {"loaded", "point"} else _Run()
        if event == "stage":
            stage = message["stage"]
        elif event == "loaded":
            run.loaded = message
            share = max(share, {"single": 0.1, "many": 0.6, "cold": 1.0}[message["label"]])
        elif event == "point":
            measured = from_jsonable(BatchPoint, message["point"])
            if message["first"]:
                run.first.append(measured)
            else:
                run.points.append((measured, message["private_bytes"], message["peak_bytes"]))
            # How many sizes there will be shows only at the end: most models stop paying long before the last one.
            step = 0.5 if message["label"] == "single" else 0.35
            share += (step / (MAX_BATCH.bit_length() + 1)) if share < 0.95 else 0.0
        elif event in {"imported", "not_cold", "chosen"}:
            notes[event] = message
        on_progress(min(share, 1.0), stage)

    return collect


def _silent(share: float, stage: str) -> None:
    """For callers that show no progress."""


def _profile(
    facts: ModelFacts, bench: Bench, runs: dict[str, _Run], *, notes: dict[str, Message], slo: Slo | None
) -> ModelProfile:
    chosen = runs[notes["chosen"]["label"]]
    loaded = _loaded(chosen)
    stages = _stages(chosen)
    curve = steady(stages).curve if stages else LatencyCurve(tuple(measured for measured, _, _ in chosen.points))
    profile = ModelProfile(
        facts=facts,
        load=from_jsonable(LoadTime, loaded["load"]),
        load_cold=from_jsonable(LoadTime, _loaded(runs["cold"])["load"]) if "cold" in runs else None,
        memory=Memory(),
        curve=curve,
        stages=stages,
        source=Source.MEASURED,
        threads=notes["chosen"]["threads"],
        other_threads=_not_chosen(runs, notes["chosen"]["label"], max(1, int(bench.cpus))),
        machine=bench.machine,
        versions=tuple((name, number) for name, number in notes["imported"]["versions"]),
        measured_at_s=time.time(),
        samples=sum(measured.samples for measured in curve.points),
        errors=_errors(loaded, notes),
    )
    return replace(profile, memory=_memory(chosen, capacity_of(profile, slo).batch))


def _not_chosen(runs: dict[str, _Run], chosen: str, cpus: int) -> tuple[ThreadCurve, ...]:
    """What was measured with the other number of threads, where it was."""
    label, threads = ("many", cpus) if chosen == "single" else ("single", 1)
    points = tuple(measured for measured, _, _ in runs[label].points) if label in runs else ()
    return (ThreadCurve(threads=threads, curve=LatencyCurve(points)),) if points else ()


def _stages(run: _Run) -> tuple[Stage, ...]:
    """Both sessions on a load-ready form, where it has two."""
    if not run.first:
        return ()
    loaded = _loaded(run)
    opened_s = loaded["load"]["load_s"] + loaded["load"]["warmup_s"]
    second = LatencyCurve(tuple(measured for measured, _, _ in run.points))
    return (
        Stage(name=MAPPED, open_s=opened_s, curve=LatencyCurve(tuple(run.first))),
        Stage(name=PACKED, open_s=loaded["second_s"], curve=second),
    )


def _loaded(run: _Run) -> Message:
    assert run.loaded is not None, "a trial that ends without an error has loaded the model"
    return run.loaded


def _memory(run: _Run, best_batch: int) -> Memory:
    """``per_request_bytes`` is what the batch adds for each row, up to the best batch: no larger one is ever run."""
    loaded = _loaded(run)
    used = [(measured.batch, after, peak) for measured, after, peak in run.points if measured.batch <= best_batch]
    (_, first, _), (last_batch, last, _) = used[0], used[-1]
    grown = max(0, last - first)
    return Memory(
        base_bytes=loaded["base_bytes"],
        resident_bytes=max(0, loaded["private_bytes"] - loaded["base_bytes"]),
        mapped_bytes=loaded["mapped_bytes"],
        per_request_bytes=grown // (last_batch - 1) if last_batch > 1 else 0,
        peak_bytes=max(loaded["peak_bytes"], *(peak for _, _, peak in used)),
    )


def _errors(loaded: Message, notes: dict[str, Message]) -> tuple[str, ...]:
    said = list(loaded["assumed"])
    if "not_cold" in notes:
        kept = notes["not_cold"]["kept"]
        said.append(f"no load from a cold page cache: {kept:.0%} of its pages could not be dropped")
    return tuple(said)
