import gzip
from pathlib import Path

import pytest

from sizewise.loadgen.schedule import Schedule, Step
from sizewise.loadgen.trace import read_trace, shaped
from sizewise.protocols.errors import UsageError

HEAD = "time_s,rate_per_s\n"


def test_time_counts_from_the_first_row_and_the_last_row_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("host,time_s,rate_per_s\na,100,5\na,160,0\na,200,7.5\na,230,0\n")
    assert read_trace(path) == ((Step(0, 5), Step(60, 0), Step(100, 7.5)), 130)


def test_counts_are_added_up_over_models_and_gaps_are_empty(tmp_path: Path) -> None:
    path = tmp_path / "functions.rate.csv.gz"
    path.write_bytes(gzip.compress(b"timestamp_s,model,requests\n600,a,30\n600,b,90\n660,a,6\n780,b,12\n"))
    steps = (Step(0, 2), Step(60, 0.1), Step(120, 0), Step(180, 0.2))
    assert read_trace(path) == (steps, 240)


def test_requests_one_by_one_are_counted_by_the_second(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("timestamp_s,model,input_tokens\n0,a,7\n0.5,a,\n0.9,b,1\n3.2,a,2\n")
    assert read_trace(path) == ((Step(0, 3), Step(1, 0), Step(3, 1)), 4)


def test_a_shape_keeps_its_ups_and_downs_at_another_rate_and_length() -> None:
    steps = shaped(((Step(0, 1), Step(600, 5)), 1200), mean_per_s=300, seconds=10)
    assert [(step.at_s, step.per_s) for step in steps] == [(0.0, 100.0), (5.0, 500.0)]
    assert Schedule(steps=steps, seconds=10).mean_per_s() == pytest.approx(300)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "t.csv:1: column time_s is missing", id="empty"),
        pytest.param("time_s,rate\n0,1\n", "t.csv:1: column rate_per_s is missing", id="column"),
        pytest.param(HEAD + "0,1\n5,many\n", "t.csv:3: rate_per_s is 'many', which is no number", id="text"),
        pytest.param(HEAD + "0,1\n5\n", "t.csv:3: rate_per_s is None", id="short row"),
        pytest.param(HEAD + "0,nan\n", "t.csv:2: rate_per_s is 'nan'", id="nan"),
        pytest.param(HEAD + "0,1\n\n5,2\n5,3\n", "t.csv:5: time_s 5 does not come after 5", id="order"),
        pytest.param(HEAD + "0,-1\n", "t.csv:2: rate_per_s is -1: allowed is 0 to 1e+06", id="negative"),
        pytest.param("timestamp_s,requests\n0,3\n5,-1\n", "t.csv:3: requests is -1", id="negative count"),
        pytest.param("timestamp_s,requests\n0,x\n", "t.csv:2: requests is 'x', which is no number", id="count"),
        pytest.param("timestamp_s,requests\n", "asks for no request", id="no counts"),
        pytest.param(HEAD + "0,1\n", "asks for no request: give two rows", id="one row"),
        pytest.param(HEAD + "0,0\n9,5\n", "asks for no request", id="a rate that never holds"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_trace(path)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone.csv", "No such file"),
        ("bytes.csv", "is not text (byte 0)"),
        ("plain.csv.gz", "is not packed by gzip"),
        ("half.csv.gz", "is damaged"),
    ],
)
def test_unreadable(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "plain.csv.gz").write_text(HEAD)
    (tmp_path / "half.csv.gz").write_bytes(gzip.compress((HEAD + "0,1\n1,2\n").encode())[:-9])
    with pytest.raises(UsageError) as error:
        read_trace(tmp_path / name)
    assert said in str(error.value)
