"""Rates over time from a CSV file: rates as they are, requests counted in buckets, or requests one by one."""

import csv
import gzip
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from sizewise.loadgen.schedule import Step
from sizewise.protocols.errors import UsageError

RATES = ("time_s", "rate_per_s")
COUNTS = ("timestamp_s", "requests")
MAX_RATE_PER_S = 1e6
ONE_BY_ONE_S = 1.0
"""Single requests are counted in buckets of this length."""
Trace = tuple[tuple[Step, ...], float]


def read_trace(path: Path) -> Trace:
    """The steps, and how long the trace is. A name that ends in .gz is unpacked.

    Columns time_s and rate_per_s: each rate holds until the next row, and the last row ends the trace. Columns
    timestamp_s and requests: requests in the bucket that begins there; buckets are as long as the shortest distance,
    those without a row hold none, and those of several models are added up. Column timestamp_s alone: one request.
    Time counts from the first row. Raises UsageError naming file and line.
    """
    unpack = gzip.open if path.suffix == ".gz" else open
    try:
        with unpack(path, mode="rt", newline="", encoding="utf-8-sig") as lines:
            return _read(path, lines)
    except gzip.BadGzipFile as error:
        raise UsageError(f"{path}: is not packed by gzip: take .gz off its name") from error
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or "is damaged"
        raise UsageError(f"{path}: {why}: give a CSV file with the columns {', '.join(RATES)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not text (byte {error.start}): give a CSV file in UTF-8") from error


def shaped(trace: Trace, *, mean_per_s: float, seconds: float) -> tuple[Step, ...]:
    """The same ups and downs squeezed or stretched into ``seconds``, around another mean rate."""
    steps, length_s = trace
    ends = [*(step.at_s for step in steps[1:]), length_s]
    requests = sum(step.per_s * (end_s - step.at_s) for step, end_s in zip(steps, ends, strict=True))
    faster, higher = seconds / length_s, mean_per_s * length_s / requests
    return tuple(Step(step.at_s * faster, step.per_s * higher) for step in steps)


def _read(path: Path, lines: Iterable[str]) -> Trace:
    rows = csv.DictReader(lines)
    columns = rows.fieldnames or ()
    if COUNTS[0] in columns:
        steps, length_s = _counted(path, rows, has_counts=COUNTS[1] in columns)
    else:
        missing = [name for name in RATES if name not in columns]
        if missing:
            raise UsageError(f"{path}:1: column {missing[0]} is missing: the first line is {','.join(RATES)}")
        steps, length_s = _rates(path, rows)
    if not any(step.per_s for step in steps):
        raise UsageError(f"{path}: asks for no request: give two rows or more, the last one ends the trace")
    return steps, length_s


def _rates(path: Path, rows: "csv.DictReader[str]") -> Trace:
    steps: list[Step] = []
    for row in rows:
        where = f"{path}:{rows.line_num}"
        step = Step(_number(where, RATES[0], row), _number(where, RATES[1], row))
        if steps and step.at_s <= steps[-1].at_s:
            raise UsageError(f"{where}: time_s {step.at_s:g} does not come after {steps[-1].at_s:g}: sort the rows")
        if not 0 <= step.per_s <= MAX_RATE_PER_S:
            raise UsageError(f"{where}: rate_per_s is {step.per_s:g}: allowed is 0 to {MAX_RATE_PER_S:g}")
        steps.append(step)
    first_s = steps[0].at_s if steps else 0.0
    length_s = steps[-1].at_s - first_s if steps else 0.0
    return tuple(Step(step.at_s - first_s, step.per_s) for step in steps[:-1]), length_s


def _counted(path: Path, rows: "csv.DictReader[str]", *, has_counts: bool) -> Trace:
    counts: dict[float, float] = defaultdict(float)
    for row in rows:
        where = f"{path}:{rows.line_num}"
        at_s = _number(where, COUNTS[0], row)
        requests = _number(where, COUNTS[1], row) if has_counts else 1.0
        if requests < 0:
            raise UsageError(f"{where}: requests is {requests:g}: allowed is 0 and more")
        counts[at_s if has_counts else math.floor(at_s / ONE_BY_ONE_S) * ONE_BY_ONE_S] += requests
    if not counts:
        return (), 0.0
    times = sorted(counts)
    bucket_s = min((b - a for a, b in pairwise(times)), default=ONE_BY_ONE_S) if has_counts else ONE_BY_ONE_S
    length_s = times[-1] - times[0] + bucket_s
    steps: list[Step] = []
    for at_s, after_s in pairwise([*times, math.inf]):
        steps.append(Step(at_s - times[0], counts[at_s] / bucket_s))
        if at_s + 1.5 * bucket_s < after_s < math.inf:  # nothing was asked until the next row
            steps.append(Step(at_s - times[0] + bucket_s, 0.0))
    return tuple(steps), length_s


def _number(where: str, name: str, row: Mapping[str, str | None]) -> float:
    text = row[name]
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{where}: {name} is {text!r}, which is no number")
    return value
