"""Trace files: one line for whatever is wrong in them, with what, where, and what to do."""

import datetime as dt
import gzip
from pathlib import Path
from typing import Any

import pytest

from sizewise.protocols.errors import UsageError
from sizewise.simulation.scenario import TraceSource
from sizewise.simulation.traces import read_trace

RATES = "timestamp_s,model,requests\n"
REQUESTS = "timestamp_s,model\n"


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_trace(TraceSource(path=path), seed=1)
    text = caught.value.message()
    assert "\n" not in text
    return text.replace(f"{path}: ", "", 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            f"{RATES}0,a,1\ninf,a,2\n", "row 3: timestamp_s is inf: give seconds from 0", id="rates, inf time"
        ),
        pytest.param(f"{REQUESTS}0,a\ninf,a\n", "row 3: timestamp_s is inf: give seconds from 0", id="inf time"),
        pytest.param(f"{REQUESTS}nan,a\n", "row 2: timestamp_s is nan: give seconds from 0", id="no number"),
        pytest.param(f"{REQUESTS}1.7e9,a\n", "row 2: timestamp_s is 1.7e+09: give seconds from 0", id="a date"),
        pytest.param(f"{REQUESTS}-1,a\n", "row 2: timestamp_s is -1: give seconds from 0", id="before the start"),
        pytest.param(f"{RATES}0,a,inf\n", "row 2: requests is inf: give the number of requests", id="inf count"),
        pytest.param(f"{RATES}0,a,1\n60,a,-2\n", "row 3: requests is -2: give the number of", id="negative count"),
        pytest.param(f"{RATES}0,a,nan\n", "row 2: requests is nan: give the number of requests", id="no count"),
        pytest.param(f"{RATES}60,a,1\n0,a,1\n", "row 3: timestamp_s falls from 60 to 0: sort", id="unsorted"),
        pytest.param(f"{RATES}0,a\n", "row 2 has fewer columns than the header", id="a column short"),
        pytest.param(f"{RATES}x,a,1\n", "row 2: could not convert string to float: 'x'", id="no time"),
        pytest.param("", "is empty: give a trace with a header", id="nothing"),
        pytest.param(RATES, "has no rows: give a trace", id="a header alone"),
        pytest.param("time,model\n0,a\n", "has no column 'timestamp_s': it has time, model", id="another name"),
        pytest.param(f"{REQUESTS}0,{'a' * 200_000}\n", "is no CSV (field larger than field limit", id="no CSV"),
        pytest.param(
            f"{RATES}0,a,1\n0.001,b,1\n9000000,a,1\n", "its rows begin at multiples of 0.001 s", id="fine buckets"
        ),
    ],
)
def test_a_wrong_trace_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert refused(tmp_path / "t.csv").startswith(said)


def test_packed_files_that_are_damaged_are_said_to_be(tmp_path: Path) -> None:
    whole = gzip.compress((REQUESTS + "".join(f"{i},a\n" for i in range(1000))).encode())
    for name, content, said in (
        ("short.csv.gz", whole[: len(whole) // 2], "is cut short or damaged: get it again"),
        ("broken.csv.gz", whole[:30] + bytes(20) + whole[50:], "is cut short or damaged: get it again"),
        ("plain.csv.gz", REQUESTS.encode(), "is not gzip although its name ends in .gz: rename it"),
    ):
        (tmp_path / name).write_bytes(content)
        assert refused(tmp_path / name) == said


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        pytest.param({"timestamp_s": ["0", "1"]}, "column 'timestamp_s' holds string: give numbers", id="text"),
        pytest.param(
            {"timestamp_s": [dt.date(2026, 1, 1), dt.date(2026, 1, 2)]},
            "column 'timestamp_s' holds date32[day]: give numbers, times in seconds from 0",
            id="dates",
        ),
        pytest.param({"timestamp_s": [0.0, None]}, "row 3: timestamp_s is nan: give seconds", id="a time is missing"),
        pytest.param({"requests": [1, -1]}, "row 3: requests is -1: give the number of requests", id="negative"),
        pytest.param({"requests": [1.0, float("inf")]}, "row 3: requests is inf: give the number", id="infinite"),
        pytest.param({"requests": ["1", "2"]}, "column 'requests' holds string: give numbers", id="counts as text"),
        pytest.param({"model": ["a", None]}, "row 3: model is missing: name the model of every row", id="no model"),
    ],
)
def test_a_wrong_parquet_file_is_one_line(columns: dict[str, list[Any]], said: str, tmp_path: Path) -> None:
    written(tmp_path / "t.parquet", columns)
    assert refused(tmp_path / "t.parquet").startswith(said)


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    written(tmp_path / "t.parquet", {"requests": [3, 4], "model": [2, 10]})
    (tmp_path / "t.csv").write_text(f"{RATES}0,2,3\n60,10,4\n")
    found, same = (read_trace(TraceSource(path=tmp_path / name), seed=1) for name in ("t.parquet", "t.csv"))
    assert (list(found.names), found.end_s) == (list(same.names), same.end_s) == (["10", "2"], 120.0)
    assert found.block(0).times_s.tolist() == same.block(0).times_s.tolist()


def test_what_is_no_parquet_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and then something else")
    assert refused(tmp_path / "t.parquet").endswith(": give a Parquet file")


def written(path: Path, columns: dict[str, list[Any]]) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"timestamp_s": [0.0, 60.0], "model": ["a", "b"]} | columns), path)
