"""Traces from files: one row a request, or one row the requests of a model in a bucket of time; CSV or Parquet.

Letters at the end of names: ``M`` models, ``B`` buckets of time.
"""

import csv
import gzip
import math
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from sizewise.protocols.errors import RuntimeMissingError, UsageError
from sizewise.simulation.scenario import TraceSource
from sizewise.simulation.workload import Chance, RateWorkload, RequestWorkload, Workload, scaled_requests

COUNTS = "requests"
"""Column that makes a file one of rates, unless another is named."""
LATEST_S = 366 * 86400.0
"""Times beyond a year are dates more likely than seconds from the start."""
MOST_CELLS = 500_000_000
"""Models times buckets that are held in memory: 10,000 models by the second for half a day."""


def read_trace(source: TraceSource, *, seed: int) -> Workload:
    """Raises UsageError: what is wrong, on which row, and what to do."""
    times_s, models, counts = _columns(source)
    names, index = np.unique(models, return_inverse=True)
    _check(source, times_s, counts)
    if source.names:
        unknown = sorted(set(source.names) - set(names.tolist()))
        if unknown:
            some = ", ".join(names[:5].tolist())
            raise UsageError(f"{source.path}: has no model {unknown[0]!r}: it has {some}")
    end_s = source.to_s if source.to_s is not None else math.inf
    bucket_s = _bucket_s(times_s) if counts is not None else 0.0
    inside = (times_s >= source.from_s) & (times_s < end_s)
    if source.names:
        inside &= np.isin(names, source.names)[index]
    if not inside.any():
        last = float(times_s.max())
        raise UsageError(f"{source.path}: nothing arrives in the window: the trace ends at {last:g} s")
    kept = np.unique(index[inside])
    place = np.full(len(names), -1)
    place[kept] = np.arange(len(kept))
    at_s, who = times_s[inside] - source.from_s, place[index[inside]]
    shown = [str(names[i]) for i in kept]
    if counts is None:
        length_s = (end_s if math.isfinite(end_s) else float(times_s.max())) - source.from_s
        return _requests(source, at_s, who, names=shown, end_s=max(length_s, 1e-3), seed=seed)
    last_s = end_s if math.isfinite(end_s) else float(times_s.max()) + bucket_s
    buckets = max(1, math.ceil((last_s - source.from_s) / bucket_s - 1e-9))
    if len(kept) * buckets > MOST_CELLS:
        raise UsageError(
            f"{source.path}: its rows begin at multiples of {bucket_s:g} s, which makes {buckets} buckets of "
            f"{len(kept)} models: round the times to longer buckets, or take a shorter window"
        )
    table_MB = np.zeros((len(kept), buckets), dtype=np.float32 if len(kept) * buckets > 10_000_000 else np.float64)
    places_B = np.minimum((at_s // bucket_s).astype(np.int64), buckets - 1)
    np.add.at(table_MB, (who, places_B), counts[inside])
    return RateWorkload(shown, table_MB, bucket_s=bucket_s, seed=seed, chance=Chance(exact=True, scale=source.scale))


def _requests(
    source: TraceSource,
    at_s: NDArray[np.float64],
    who: NDArray[np.int64],
    *,
    names: list[str],
    end_s: float,
    seed: int,
) -> Workload:
    order = np.lexsort((at_s, who))
    at_s, who = at_s[order], who[order]
    bounds = np.searchsorted(who, np.arange(len(names) + 1))
    rng = np.random.default_rng((seed, 7))
    times_M = [scaled_requests(at_s[a:b], source.scale, rng) for a, b in pairwise(bounds)]
    last_s = max((float(each[-1]) for each in times_M if len(each)), default=0.0)
    return RequestWorkload(names, times_M, end_s=max(end_s, last_s + 1e-6))


def _check(source: TraceSource, times_s: NDArray[np.float64], counts: NDArray[np.float64] | None) -> None:
    wrong = np.flatnonzero(~((times_s >= 0) & (times_s <= LATEST_S)))
    if len(wrong):
        row = int(wrong[0])
        raise UsageError(
            f"{source.path}: row {row + 2}: {source.time} is {times_s[row]:g}: give seconds from 0 at the start, at "
            f"most a year of them"
        )
    if counts is not None and (bad := np.flatnonzero(~((counts >= 0) & np.isfinite(counts)))).size:
        row, named = int(bad[0]), source.requests or COUNTS
        raise UsageError(
            f"{source.path}: row {row + 2}: {named} is {counts[row]:g}: give the number of requests, 0 or more"
        )
    falls = np.flatnonzero(np.diff(times_s) < 0)
    if len(falls):
        row = int(falls[0]) + 1
        raise UsageError(
            f"{source.path}: row {row + 2}: {source.time} falls from {times_s[row - 1]:g} to {times_s[row]:g}: "
            f"sort the rows by time"
        )


def _bucket_s(times_s: NDArray[np.float64]) -> float:
    """The largest step that all distinct times are multiples of, to the millisecond; a minute for a single time."""
    steps = np.unique(np.round(np.diff(np.unique(times_s)) * 1000).astype(np.int64))
    steps = steps[steps > 0]
    return float(np.gcd.reduce(steps)) / 1000 if len(steps) else 60.0


def _columns(source: TraceSource) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[np.float64] | None]:
    if source.path.suffix == ".parquet":
        return _from_parquet(source)
    try:
        with _opened(source.path) as lines:
            return _from_csv(source, csv.reader(lines))
    except UnicodeDecodeError as error:
        raise UsageError(f"{source.path}: is not UTF-8 text: give CSV, CSV.gz or Parquet") from error
    except gzip.BadGzipFile as error:
        raise UsageError(f"{source.path}: is not gzip although its name ends in .gz: rename it") from error
    except (EOFError, zlib.error) as error:
        raise UsageError(f"{source.path}: is cut short or damaged: get it again") from error
    except csv.Error as error:
        raise UsageError(f"{source.path}: is no CSV ({error}): give CSV, CSV.gz or Parquet") from error
    except OSError as error:
        raise UsageError(f"{source.path}: {error.strerror or error}: give the path of a trace") from error


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _from_csv(
    source: TraceSource, rows: Iterator[list[str]]
) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[np.float64] | None]:
    header = next(rows, None)
    if header is None:
        raise UsageError(f"{source.path}: is empty: give a trace with a header and at least one row")
    at, who, count = _places(source, header)
    times, models, counts = [], [], []
    number = 1
    try:
        for row in rows:
            number += 1
            times.append(float(row[at]))
            models.append(row[who] if who is not None else source.only)
            if count is not None:
                counts.append(float(row[count]))
    except IndexError:
        raise UsageError(f"{source.path}: row {number} has fewer columns than the header: complete it") from None
    except ValueError as error:
        raise UsageError(f"{source.path}: row {number}: {error}: give numbers in {source.time}") from None
    if not times:
        raise UsageError(f"{source.path}: has no rows: give a trace with at least one request")
    return np.array(times), np.array(models), np.array(counts) if count is not None else None


def _places(source: TraceSource, header: list[str]) -> tuple[int, int | None, int | None]:
    def place(name: str) -> int:
        if name not in header:
            raise UsageError(
                f"{source.path}: has no column {name!r}: it has {', '.join(header)}; name yours under trace.columns"
            )
        return header.index(name)

    counts = source.requests or (COUNTS if COUNTS in header else None)
    return place(source.time), place(source.model) if source.model else None, place(counts) if counts else None


def _from_parquet(source: TraceSource) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[np.float64] | None]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise RuntimeMissingError("pyarrow", "simulation") from None
    try:
        table = parquet.read_table(source.path)
    except OSError as error:
        raise UsageError(f"{source.path}: {str(error).splitlines()[0]}: give a Parquet file") from error
    except ValueError as error:  # what pyarrow raises for a file of another format
        raise UsageError(f"{source.path}: {str(error).splitlines()[0]}: give a Parquet file") from error
    header = list(table.column_names)
    at, who, count = _places(source, header)
    if not table.num_rows:
        raise UsageError(f"{source.path}: has no rows: give a trace with at least one request")
    times_s = _numbers(source, table.column(at), source.time)
    models = np.full(len(times_s), source.only) if who is None else _words(source, table.column(who))
    counts = _numbers(source, table.column(count), header[count]) if count is not None else None
    return times_s, models, counts


def _numbers(source: TraceSource, column: Any, name: str) -> NDArray[np.float64]:
    from pyarrow import types

    kind = column.type
    if not (types.is_integer(kind) or types.is_floating(kind)):
        raise UsageError(f"{source.path}: column {name!r} holds {kind}: give numbers, times in seconds from 0")
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _words(source: TraceSource, column: Any) -> NDArray[Any]:
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise UsageError(f"{source.path}: row {row + 2}: {source.model} is missing: name the model of every row")
    return np.array([str(each) for each in column.to_pylist()])
