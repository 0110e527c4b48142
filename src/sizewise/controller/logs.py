"""Log files of a system, as lines with the name of the file they come from."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sizewise.protocols.errors import NotFoundError

LOOK_EVERY_S = 0.2
_TAIL_BYTES = 256 * 1024
ANSWER_BYTES = 4 * 1024 * 1024
"""No further log is begun beyond: a fleet has a log for each model."""


@dataclass(frozen=True, slots=True)
class LogLine:
    source: str
    """Name of the log: a model, or keeper, gateway, controller, warm-RUNTIME."""
    text: str


def logs(
    state_dir: str | Path,
    name: str | None = None,
    *,
    last: int = 100,
    follow: bool = False,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[LogLine]:
    """The last lines of one log, or of each; with ``follow`` also what is written from now on, without end.

    Raises NotFoundError when there is no such log.
    """
    folder = Path(state_dir) / "logs"
    _check(folder, name)
    ends: dict[Path, int] = {}
    for path in _files(folder, name):
        lines, ends[path] = _tail(path, last)
        yield from (LogLine(path.stem, line) for line in lines)
    while follow:
        pause(LOOK_EVERY_S)
        for path in _files(folder, name):
            yield from (LogLine(path.stem, line) for line in _new_lines(path, ends))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTails:
    lines: list[LogLine]
    left_out: list[str]
    """Logs that the answer had no more room for."""


def tails(folder: Path, name: str | None, last: int) -> LogTails:
    """The last lines of one log in ``folder``, or of each until the answer is large. Raises NotFoundError."""
    _check(folder, name)
    lines, left_out, size = list[LogLine](), list[str](), 0
    for path in _files(folder, name):
        if size >= ANSWER_BYTES:
            left_out.append(path.stem)
            continue
        found, _ = _tail(path, last)
        lines += [LogLine(path.stem, line) for line in found]
        size += sum(map(len, found))
    return LogTails(lines=lines, left_out=left_out)


def _files(folder: Path, name: str | None) -> list[Path]:
    return [folder / f"{name}.log"] if name is not None else sorted(folder.glob("*.log"))


def _check(folder: Path, name: str | None) -> None:
    if name is not None and (Path(name).name != name or not (folder / f"{name}.log").exists()):
        known = ", ".join(sorted(path.stem for path in folder.glob("*.log"))) or "none yet"
        raise NotFoundError("log", name, f"there are: {known}")


def _tail(path: Path, last: int) -> tuple[list[str], int]:
    try:
        with path.open("rb") as source:
            size = source.seek(0, 2)
            source.seek(max(0, size - _TAIL_BYTES))
            data = source.read()
    except OSError:
        return [], 0
    whole = data[: data.rfind(b"\n") + 1]
    lines = whole.decode(errors="replace").splitlines()
    cut = 1 if size > _TAIL_BYTES else 0  # the first line is the end of one
    return list(deque(lines[cut:], maxlen=last)), size - (len(data) - len(whole))


def _new_lines(path: Path, ends: dict[Path, int]) -> list[str]:
    """Whole lines written since the last look; a file that became shorter was begun anew."""
    try:
        with path.open("rb") as source:
            size = source.seek(0, 2)
            start = ends.get(path, 0)
            source.seek(start if start <= size else 0)
            start = source.tell()
            data = source.read()
    except OSError:
        return []
    whole = data[: data.rfind(b"\n") + 1]
    ends[path] = start + len(whole)
    return whole.decode(errors="replace").splitlines()
