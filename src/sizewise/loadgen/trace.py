"""Rates over time from a CSV file with the columns time_s and rate_per_s."""

import csv
import math
from collections.abc import Iterable
from pathlib import Path

from sizewise.loadgen.schedule import Step
from sizewise.protocols.errors import UsageError

COLUMNS = ("time_s", "rate_per_s")
MAX_RATE_PER_S = 1e6


def read_trace(path: Path) -> tuple[tuple[Step, ...], float]:
    """The steps, and the time of the last row, at which the trace ends.

    Each rate holds until the next row; time counts from the first row. Raises UsageError naming file and line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            return _read(path, lines)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}: give a CSV file with the columns {', '.join(COLUMNS)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not text (byte {error.start}): give a CSV file in UTF-8") from error


def _read(path: Path, lines: Iterable[str]) -> tuple[tuple[Step, ...], float]:
    rows = csv.DictReader(lines)
    missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise UsageError(f"{path}:1: column {missing[0]} is missing: the first line is {','.join(COLUMNS)}")
    steps: list[Step] = []
    for row in rows:
        where = f"{path}:{rows.line_num}"
        step = Step(_number(where, "time_s", row["time_s"]), _number(where, "rate_per_s", row["rate_per_s"]))
        if steps and step.at_s <= steps[-1].at_s:
            raise UsageError(f"{where}: time_s {step.at_s:g} does not come after {steps[-1].at_s:g}: sort the rows")
        if not 0 <= step.per_s <= MAX_RATE_PER_S:
            raise UsageError(f"{where}: rate_per_s is {step.per_s:g}: allowed is 0 to {MAX_RATE_PER_S:g}")
        steps.append(step)
    if len(steps) < 2 or not any(step.per_s for step in steps[:-1]):
        raise UsageError(f"{path}: asks for no request: give two rows or more, the last one ends the trace")
    first_s = steps[0].at_s
    return tuple(Step(step.at_s - first_s, step.per_s) for step in steps[:-1]), steps[-1].at_s - first_s


def _number(where: str, name: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{where}: {name} is {text!r}, which is no number")
    return value
