"""Traces that experiments put together, as files of rates in the folder of results that are kept."""

import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.experiments.runs import CACHE

Counts = NDArray[np.float64]


def written(name: str, counts: Mapping[str, Sequence[float] | Counts], *, bucket_s: float) -> Path:
    """Requests of each model by bucket. A bucket of every model is there, so that all are equally long."""
    folder = CACHE / "traces"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.rate.csv"
    with path.open("w", newline="") as lines:
        rows = csv.writer(lines)
        rows.writerow(("timestamp_s", "model", "requests"))
        for i in range(max(len(each) for each in counts.values())):
            for model, each in counts.items():
                rows.writerow((i * bucket_s, model, round(float(each[i]), 6)))
    return path


def minutes_of(path: Path, model: str, *, from_s: float, minutes: int) -> Counts:
    """Requests a minute of one model in a file of rates; a minute without a row had none."""
    found = np.zeros(minutes)
    with gzip.open(path, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            place = int((float(row["timestamp_s"]) - from_s) // 60)
            if row["model"] == model and 0 <= place < minutes:
                found[place] += float(row["requests"])
    return found


def square(period_s: int, *, on_share: float, high: float, low: float, seconds: int) -> Counts:
    """Requests a second, ``high`` for the first share of every period."""
    at_s = np.arange(seconds) % period_s
    return np.where(at_s < on_share * period_s, high, low)


def spikes(every_s: int, *, lasts_s: int, high: float, low: float, seconds: int) -> Counts:
    """Quiet, and now and then a few seconds of a crowd."""
    at_s = np.arange(seconds) % every_s
    return np.where(at_s >= every_s - lasts_s, high, low)
