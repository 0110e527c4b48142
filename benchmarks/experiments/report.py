"""Experiments as a table on the screen and a dated file of results."""

import datetime as dt
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common import RESULTS


def save(name: str, rows: Sequence[Mapping[str, Any]], *, note: str, more: Mapping[str, Any] | None = None) -> None:
    """Print the rows and write them to ``results/experiment_NAME_DATE.json``: simulated, so no machine is named."""
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    command = " ".join(["python -m", f"benchmarks.experiments.{name}", *shown(sys.argv[1:])])
    record = {"experiment": name, "note": note, "date": today, "command": command, **(more or {}), "rows": list(rows)}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"experiment_{name}_{today}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(table(rows))
    print(f"wrote {path.name}")


def shown(words: Sequence[str]) -> list[str]:
    """Arguments without where things are on this machine."""
    return ["TRACES" if word.startswith("/") else word for word in words]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Columns as wide as their longest word; an empty one for what there is not."""
    heads = list(dict.fromkeys(key for row in rows for key in row))
    words = [["" if row.get(key) is None else str(row[key]) for key in heads] for row in rows]
    widths = [max(len(line[i]) for line in [heads, *words]) for i in range(len(heads))]
    return "\n".join(
        "  ".join(f"{word:<{n}}" for word, n in zip(line, widths, strict=True)) for line in [heads, *words]
    )
