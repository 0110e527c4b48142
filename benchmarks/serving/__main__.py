"""Sizewise beside other model servers: same models, same machine, one server at a time, wrk, answers checked.

    python -m benchmarks.serving                                   small and medium, every peer, 1/16/64 connections
    python -m benchmarks.serving --bodies image,image-binary,tokens,trees --connections 1,16
    python -m benchmarks.serving --peers sizewise,fastapi-lean --bodies small --repeats 1
    python -m benchmarks.serving --table RESULT.json               print a result as Markdown
    python -m benchmarks.serving --table RESULT.json --into docs/performance.md       or write it into the page

The first run makes an environment for each peer below .cache/serving; one that cannot be made is reported.
"""

import argparse
import datetime as dt
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.common import RESULTS, need_wrk
from benchmarks.serving.bodies import KINDS
from benchmarks.serving.measure import Plan, measure
from benchmarks.serving.plot import svg
from benchmarks.serving.process import adopt_orphans
from benchmarks.serving.registry import PEERS
from benchmarks.serving.table import markdown, replaced


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=_names(PEERS), default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument("--bodies", type=_names(KINDS), default=["small", "medium"], help=", ".join(KINDS))
    parser.add_argument("--connections", type=_counts, default=[1, 16, 64])
    parser.add_argument("--seconds", type=int, default=3, help="of each window, whole ones: wrk takes no others")
    parser.add_argument("--warmup", type=int, default=1, help="seconds of load before each window")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--note", default="", help="what else is to be known of this run, kept in the result")
    parser.add_argument("--result", type=Path, default=dated(), metavar="FILE.json", help="its plot is beside it")
    parser.add_argument("--table", type=Path, metavar="RESULT.json", help="print a result and measure nothing")
    parser.add_argument("--into", type=Path, metavar="PAGE.md", help="with --table: replace the figures of this page")
    options = parser.parse_args()
    if options.table:
        show(options.table, options.into)
        return
    need_wrk()
    adopt_orphans()
    plan = Plan(
        peers=options.peers,
        bodies=options.bodies,
        connections=options.connections,
        seconds=options.seconds,
        warmup_s=options.warmup,
        repeats=options.repeats,
        note=options.note,
    )
    record, path = measure(plan), options.result
    path.write_text(json.dumps(record, indent=1) + "\n")
    path.with_suffix(".svg").write_text(svg(record))
    print(f"\n{markdown(record)}\nwrote {path} and {path.with_suffix('.svg').name}")
    ours = [row for row in record["rows"] if row["peer"] == "sizewise"]
    if any(window["errors"] for row in ours for window in row["windows"]):
        sys.exit("sizewise answered with errors")


def show(result: Path, page: Path | None) -> None:
    figures = markdown(json.loads(result.read_text()))
    if page is None:
        print(figures, end="")
    else:
        page.write_text(replaced(page.read_text(), figures, result=result.name))


def dated() -> Path:
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return RESULTS / f"serving_{os.cpu_count()}cpu_{today}.json"


def _names(known: Mapping[str, object]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        unknown = [name for name in text.split(",") if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return text.split(",")

    return parse


def _counts(text: str) -> list[int]:
    return sorted(int(word) for word in text.split(","))


if __name__ == "__main__":
    main()
