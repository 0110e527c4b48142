"""From a pickle of scikit-learn to a skops file, in a child process that can build only what is trusted."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sizewise.core.profiles import ModelFacts
from sizewise.core.units import GIB, format_seconds
from sizewise.formats.inspecting import inspect
from sizewise.protocols.errors import ModelFileError, RuntimeMissingError, SizewiseError, UsageError

CHILD = "sizewise.formats.convert_child"
TIMEOUT_S = 300.0
MEMORY_BYTES = 8 * GIB
"""Address space of the child; scikit-learn itself takes about 1 GiB of it."""
_RESULT_MAX_BYTES = 4 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertLimits:
    """What the child may take."""

    timeout_s: float = TIMEOUT_S
    memory_bytes: int = MEMORY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertReport:
    """What became of a pickle."""

    source: str
    target: str
    estimator: str
    names: tuple[str, ...]
    """Every type and function that the pickle names, in the order it names them."""
    consented: tuple[str, ...]
    """Those of them that are not on the shipped list: somebody vouched for them."""
    checked_rows: int
    """Random rows for which pickle and skops file were asked, and answered the same; 0 when that was not possible."""
    facts: ModelFacts
    notes: tuple[str, ...] = ()


@dataclass(eq=False)
class UntrustedTypesError(SizewiseError):
    """The pickle names types or functions that are not known safe, so nothing of it was built."""

    path: str
    types: tuple[str, ...]
    exit_code = 1
    status = 400

    def message(self) -> str:
        listed = ", ".join(self.types[:5]) + (f" and {len(self.types) - 5} more" if len(self.types) > 5 else "")
        return (
            f"{self.path}: names what is not known to be safe: {listed}: add --trust NAME for each that you know to be "
            f"harmless"
        )


def convert(
    source: Path, target: Path, *, trusted: frozenset[str], limits: ConvertLimits | None = None
) -> ConvertReport:
    """Write the scikit-learn model pickled in ``source`` to ``target`` as skops, and check that it answers the same.

    Nothing is built of a pickle that names anything besides the shipped list and ``trusted``: UntrustedTypesError
    lists it. Raises ModelFileError for a file that is no such pickle, is damaged or takes too much time or memory,
    RuntimeMissingError without scikit-learn, UsageError for a target of another kind. ``target`` is replaced at once
    or not at all.
    """
    if target.suffix != ".skops" or target.is_dir():
        raise UsageError(f"{target}: a converted model is a .skops file: name it so")
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent}: is not a folder: make it first")
    limits = limits or ConvertLimits()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".convert-") as name:
        work = Path(name)
        result = _run_child(source, work, trusted=trusted, limits=limits)
        report = _report(result, source=source, target=target, work=work)
        (work / "model.skops").replace(target)
    return report


def _run_child(source: Path, work: Path, *, trusted: frozenset[str], limits: ConvertLimits) -> Mapping[str, object]:
    request = {
        "source": str(source.absolute()),
        "work": str(work.absolute()),
        "trusted": sorted(trusted),
        "memory_bytes": limits.memory_bytes,
        "cpu_s": limits.timeout_s,
    }
    # -P: a file beside the caller cannot stand in for a module
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        child.communicate(json.dumps(request).encode(), timeout=limits.timeout_s)
    except subprocess.TimeoutExpired as error:
        problem = f"was not converted within {format_seconds(limits.timeout_s)}"
        raise ModelFileError(str(source), problem, "convert it on a faster machine") from error
    finally:
        # With everything that it may have started
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return _result(source, work, child.returncode)


def _result(source: Path, work: Path, status: int) -> Mapping[str, object]:
    file = work / "result.json"
    try:
        with file.open("rb") as stream:
            result = json.loads(stream.read(_RESULT_MAX_BYTES))
    except (OSError, ValueError) as error:
        how = f"signal {-status}" if status < 0 else f"status {status}"
        advice = "it may need more memory than was allowed"
        raise ModelFileError(str(source), f"ended its conversion by {how}", advice) from error
    if not isinstance(result, dict):
        raise ModelFileError(str(source), "gave no result", "convert it again")
    return result


def _report(result: Mapping[str, object], *, source: Path, target: Path, work: Path) -> ConvertReport:
    untrusted, problem = _texts(result.get("untrusted")), result.get("problem")
    if untrusted:
        raise UntrustedTypesError(str(source), untrusted)
    if result.get("missing"):
        raise RuntimeMissingError("scikit-learn with skops", "sklearn")
    if problem is not None:
        raise ModelFileError(str(source), str(problem), str(result.get("advice", "")))
    try:
        facts = inspect(work / "model.skops")
    except ModelFileError as error:
        raise ModelFileError(str(source), f"became a file that {error.problem}", error.advice) from error
    rows = result.get("checked_rows")
    facts = replace(facts, entry=target.name, files=(target.name,))
    return ConvertReport(
        source=str(source),
        target=str(target),
        estimator=str(result.get("estimator")),
        names=_texts(result.get("names")),
        consented=_texts(result.get("consented")),
        checked_rows=rows if isinstance(rows, int) else 0,
        facts=facts,
        notes=_texts(result.get("notes")),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, list) else ()
