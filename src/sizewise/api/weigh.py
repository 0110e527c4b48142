"""Asking what models weigh: no server, nothing started but a child that measures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sizewise.core.profiles import ModelFacts, ModelProfile
from sizewise.core.slo import Slo
from sizewise.formats.convert import ConvertReport
from sizewise.formats.convert import convert as formats_convert
from sizewise.profiling.report import Report
from sizewise.profiling.store import ProfileStore
from sizewise.protocols.errors import DoesNotFitError

OnProgress = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileOptions:
    slo: Slo | None = None
    """Decides which batch is best and what one replica sustains."""
    measure: bool = True
    """False reads the files and runs nothing."""
    fresh: bool = False
    """Measure although a measurement of the same bytes on this machine is known."""
    store: Path | None = None
    """Folder that keeps measurements; None keeps none."""
    memory_bytes: int | None = None
    """What the model may take; None: what this machine has for it."""
    cpus: float | None = None
    time_s: float = 300.0
    """How long one measurement may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One model to measure."""

    facts: ModelFacts
    folder: Path
    hash: str
    options: ProfileOptions


def profile(
    path: str | Path, options: ProfileOptions | None = None, *, on_progress: OnProgress | None = None
) -> Report:
    """What the model at ``path`` weighs: facts, estimate and measurement side by side.

    Raises ModelFileError for a file that is corrupt, unsupported, hangs or dies, DoesNotFitError for one that this
    machine has no room for, RuntimeMissingError where a framework is not installed.
    """
    from sizewise.formats import inspect
    from sizewise.profiling.estimate import estimate
    from sizewise.profiling.report import report
    from sizewise.protocols.artifacts import content_hash

    source, options = Path(path), options or ProfileOptions()
    facts = inspect(source)
    folder = source if source.is_dir() else source.parent
    case = _Case(facts=facts, folder=folder, hash=content_hash(folder, facts.files), options=options)
    measured, reused = None, False
    if options.measure and facts.runtime is not None:
        measured, reused = _measured(case, on_progress)
    found = report(str(path), case.hash, estimate=estimate(facts), measured=measured, slo=options.slo, reused=reused)
    return replace(found, formed=_formed(case))


def _formed(case: _Case) -> ModelProfile | None:
    """What a system that keeps its state where measurements are kept knows of the model's load-ready form."""
    from sizewise.runtimes.forms import KINDS, key_of

    if case.options.store is None:
        return None
    store = ProfileStore(case.options.store)
    names = [name for name, kind in KINDS.items() if kind.source == case.facts.runtime and kind.installed]
    known = (store.get(ProfileStore.name(case.hash, key_of(name))) for name in names)
    return next((profile for profile in known if profile is not None and profile.stages), None)


def _measured(case: _Case, on_progress: OnProgress | None) -> tuple[ModelProfile, bool]:
    """The measurement, and whether it is one from before."""
    from sizewise.backends.local.machine import find_machine
    from sizewise.profiling.measure import Bench, measure
    from sizewise.profiling.system import describe_machine

    options = case.options
    found = find_machine(case.folder)
    cpus = options.cpus or found.cpus
    machine = describe_machine(cpus=cpus, memory_bytes=found.memory_bytes)
    store = ProfileStore(options.store) if options.store is not None else None
    known = store.get(case.hash, machine=machine) if store is not None and not options.fresh else None
    if known is not None:
        return known, True
    room = options.memory_bytes or found.memory_available_bytes
    _check_room(case, room)
    bench = Bench(cpus=cpus, memory_bytes=room, kind=machine, time_s=options.time_s)
    measured = measure(case.facts, case.folder, bench, slo=options.slo, on_progress=on_progress)
    if store is not None:
        store.put(case.hash, measured)
    return measured, False


def _check_room(case: _Case, room_bytes: int) -> None:
    """Before anything is loaded: weights alone need this much."""
    if case.facts.weights_bytes > room_bytes:
        raise DoesNotFitError(
            model=case.facts.entry or case.folder.name,
            resource="memory",
            need_bytes=case.facts.weights_bytes,
            have_bytes=room_bytes,
            advice="use a larger machine; --no-measure shows what the file says",
        )


def convert(source: str | Path, target: str | Path, *, trusted: Iterable[str] = ()) -> ConvertReport:
    """Write a pickled scikit-learn model as skops, in a child process; nothing that is not trusted is built.

    ``trusted`` names types that the caller vouches for. Raises UntrustedTypesError listing those that are missing.
    """
    return formats_convert(Path(source), Path(target), trusted=frozenset(trusted))
