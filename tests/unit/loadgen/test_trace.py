from pathlib import Path

import pytest

from sizewise.loadgen.schedule import Step
from sizewise.loadgen.trace import read_trace
from sizewise.protocols.errors import UsageError

HEAD = "time_s,rate_per_s\n"


def test_time_counts_from_the_first_row_and_the_last_row_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "day.csv"
    path.write_text("host,time_s,rate_per_s\na,100,5\na,160,0\na,200,7.5\na,230,0\n")
    assert read_trace(path) == ((Step(0, 5), Step(60, 0), Step(100, 7.5)), 130)


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


@pytest.mark.parametrize(("name", "said"), [("gone.csv", "No such file"), ("bytes.csv", "is not text (byte 0)")])
def test_unreadable(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError) as error:
        read_trace(tmp_path / name)
    assert said in str(error.value)
