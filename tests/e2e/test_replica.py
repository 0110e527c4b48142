"""A real replica process, spoken to in frames."""

import os
import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from sizewise.protocols.frames import Encoding, Flag, Frame, Kind
from tests.e2e.warm_replicas import Client, Warm, warm

MODEL = """
import os
import numpy as np

INPUTS = [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
OUTPUTS = [{"name": "sum", "datatype": "FP32", "shape": [-1]}, {"name": "together", "datatype": "INT64", "shape": [-1]}]


def load():
    return None


def predict(model, inputs):
    x = inputs["x"]
    x += 0  # users' code works in place
    if (x == 13).any():
        raise ValueError("thirteen\\nis unlucky")
    if (x == 14).any():
        raise MemoryError
    if (x == 666).any():
        os.kill(os.getpid(), 9)
    total = x.sum(axis=1)
    total[total == 100] = np.nan
    return {"sum": total, "together": np.full(len(x), len(x))}
"""
TARGET = "m@1"


@pytest.fixture(scope="module")
def parent() -> Iterator[Warm]:
    with warm("python") as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("model")
    (path / "model.py").write_text(MODEL)
    return path


@pytest.fixture(scope="module")
def shared(parent: Warm, folder: Path) -> str:
    """A replica that tests leave as they found it."""
    parent.fork("shared")
    with parent.client("shared") as client:
        report = client.load(TARGET, "python", folder, "model.py", max_batch=8, self_check=True)
        assert report.status == 200, report.body
    return "shared"


@pytest.fixture
def client(parent: Warm, shared: str) -> Iterator[Client]:
    with parent.client(shared) as connected:
        yield connected


def body(*rows: tuple[float, float], **fields: Any) -> dict[str, Any]:
    data = [value for row in rows for value in row]
    return {"inputs": [{"name": "x", "shape": [len(rows), 2], "datatype": "FP32", "data": data}], **fields}


def values(frame: Frame) -> dict[str, list[Any]]:
    assert frame.status == 200, frame.body
    return {output["name"]: output["data"] for output in orjson.loads(frame.body)["outputs"]}


def error(frame: Frame) -> str:
    assert frame.encoding == Encoding.ERROR_JSON
    document = orjson.loads(frame.body)
    assert list(document) == ["error"]
    text: str = document["error"]
    assert "\n" not in text
    return text


def test_hello_says_who_and_what(client: Client) -> None:
    assert client.hello["replica_id"] == "shared"
    assert client.hello["models"] == [TARGET]
    assert abs(client.hello["monotonic_ns"] - time.monotonic_ns()) < 60e9


def test_an_answer(client: Client) -> None:
    frame = client.ask(client.infer(TARGET, body((1, 2), id="q")))
    document = orjson.loads(frame.body)
    assert (document["model_name"], document["model_version"], document["id"]) == ("m", "1", "q")
    assert values(frame) == {"sum": [3], "together": [1]}
    assert frame.batch == 1
    assert frame.flags == Flag.LEAD
    assert 0 < frame.deadline_ns < 5e9


def test_what_waits_is_computed_together(client: Client) -> None:
    requests = [client.infer(TARGET, body((i, 1))) for i in range(5)] + [client.infer(TARGET, body((5, 1), (6, 1)))]
    client.send(*requests)
    answers = client.answers(6)
    assert [values(answers[r.request_id])["sum"] for r in requests] == [[1], [2], [3], [4], [5], [6, 7]]
    assert {tuple(values(frame)["together"]) for frame in answers.values()} == {(7,), (7, 7)}
    assert {frame.batch for frame in answers.values()} == {7}
    assert sum(bool(frame.flags & Flag.LEAD) for frame in answers.values()) == 1


def test_a_batch_ends_at_max_batch_rows(client: Client) -> None:
    requests = [client.infer(TARGET, body((1, 1), (1, 1), (1, 1))) for _ in range(5)]
    client.send(*requests)
    answers = client.answers(5)
    assert [answers[r.request_id].batch for r in requests] == [6, 6, 6, 6, 3]


def test_a_request_larger_than_max_batch_runs_alone(client: Client) -> None:
    requests = [client.infer(TARGET, body((1, 1))), client.infer(TARGET, body(*[(1, 1)] * 20))]
    client.send(*requests)
    answers = client.answers(2)
    assert [answers[r.request_id].batch for r in requests] == [1, 20]


def test_alone(client: Client) -> None:
    flags = [0, Flag.ALONE, 0, 0]
    requests = [client.infer(TARGET, body((1, 1)), flags=flag) for flag in flags]
    client.send(*requests)
    answers = client.answers(4)
    assert [answers[r.request_id].batch for r in requests] == [1, 1, 2, 2]


def test_different_questions_are_not_mixed(client: Client) -> None:
    one = client.infer(TARGET, body((1, 1), outputs=[{"name": "sum"}]))
    both = client.infer(TARGET, body((1, 1)))
    client.send(one, both)
    answers = client.answers(2)
    assert values(answers[one.request_id]) == {"sum": [2]}
    assert values(answers[both.request_id]) == {"sum": [2], "together": [1]}


def test_binary_both_ways(client: Client) -> None:
    entry = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    head = orjson.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}})
    whole = head + struct.pack("<2f", 1.5, 2)
    frame = client.ask(client.infer(TARGET, whole, encoding=Encoding.V2_BINARY, json_bytes=len(head)))
    assert (frame.status, frame.encoding) == (200, Encoding.V2_BINARY)
    outputs = orjson.loads(frame.body[: frame.json_bytes])["outputs"]
    assert [output["parameters"]["binary_data_size"] for output in outputs] == [4, 8]
    assert frame.body[frame.json_bytes :] == struct.pack("<fq", 3.5, 1)


def test_v1(client: Client) -> None:
    frame = client.ask(client.infer(TARGET, {"instances": [[1, 2], [3, 4]]}, encoding=Encoding.V1_JSON))
    assert frame.encoding == Encoding.V1_JSON
    assert orjson.loads(frame.body) == {"predictions": [{"sum": 3, "together": 2}, {"sum": 7, "together": 2}]}


def test_a_large_body(client: Client) -> None:
    rows = [(i % 7, 1) for i in range(100_000)]
    total = values(client.ask(client.infer(TARGET, body(*rows))))["sum"]
    assert total == [a + b for a, b in rows]


def test_one_bad_request_hurts_no_other(client: Client) -> None:
    good = client.infer(TARGET, body((1, 1)))
    bad = client.infer(TARGET, body((1, 1), outputs=[{"name": "q"}]))
    broken = client.infer(TARGET, b"{")
    client.send(good, bad, broken)
    answers = client.answers(3)
    assert values(answers[good.request_id])["sum"] == [2]
    assert answers[bad.request_id].status == answers[broken.request_id].status == 400
    assert "unknown output 'q'" in error(answers[bad.request_id])
    assert answers[bad.request_id].batch == 0


def test_only_the_guilty_one_fails(client: Client) -> None:
    requests = [client.infer(TARGET, body((i, 1))) for i in (1, 13, 2, 14)]
    client.send(*requests)
    answers = client.answers(4)
    one, unlucky, two, memory = (answers[r.request_id] for r in requests)
    assert (values(one)["sum"], values(two)["sum"]) == ([2], [3])
    assert error(unlucky) == "model 'm' failed: ValueError: thirteen is unlucky"
    assert error(memory) == "model 'm' failed: out of memory"
    assert unlucky.status == memory.status == 500


def test_nan_has_no_json_form(client: Client) -> None:
    requests = [client.infer(TARGET, body((99, 1))), client.infer(TARGET, body((1, 1)))]
    client.send(*requests)
    answers = client.answers(2)
    assert answers[requests[0].request_id].status == 422
    assert "binary_data" in error(answers[requests[0].request_id])
    assert values(answers[requests[1].request_id])["sum"] == [2]


def test_a_cancelled_request_is_not_answered(client: Client) -> None:
    cancelled, other = client.infer(TARGET, body((1, 1))), client.infer(TARGET, body((2, 2)))
    client.send(cancelled, Frame(Kind.CANCEL, cancelled.request_id), other)
    answer = client.next()
    assert (answer.request_id, answer.batch) == (other.request_id, 1)


def test_late_requests_are_not_computed(client: Client) -> None:
    late = client.infer(TARGET, body((1, 1)), deadline_ns=time.monotonic_ns() - 1)
    soon = client.infer(TARGET, body((1, 1)), deadline_ns=time.monotonic_ns() + 60_000_000_000)
    client.send(late, soon)
    answers = client.answers(2)
    assert answers[late.request_id].status == 504
    assert "the deadline passed" in error(answers[late.request_id])
    assert answers[soon.request_id].batch == 1


def test_a_timeout_of_the_sender(client: Client) -> None:
    """One microsecond has passed by the time that the request's turn comes."""
    late = client.infer(TARGET, body((1, 1), parameters={"timeout": 1}))
    soon = client.infer(TARGET, body((1, 1), parameters={"timeout": 60_000_000}))
    client.send(late, soon)
    answers = client.answers(2)
    assert [answers[r.request_id].status for r in (late, soon)] == [504, 200]


def test_an_unknown_model(client: Client) -> None:
    assert client.ask(client.infer("other@1", body((1, 1)))).status == 404


def test_a_peer_that_goes_disturbs_nobody(parent: Warm, client: Client) -> None:
    with parent.client("shared") as gone:
        gone.send(*[gone.infer(TARGET, body(*[(1, 1)] * 2000)) for _ in range(200)])
    assert values(client.ask(client.infer(TARGET, body((1, 1)))))["sum"] == [2]


def test_a_peer_that_speaks_something_else_is_dropped(parent: Warm, client: Client) -> None:
    with parent.client("shared") as odd:
        odd.send_raw(b"GET / HTTP/1.1\r\nHost: replica\r\nContent-Length: 10\r\n\r\n")
        with pytest.raises(ConnectionError):
            odd.next()
    assert client.ask(client.infer(TARGET, body((1, 1)))).status == 200


def test_status(client: Client) -> None:
    status = orjson.loads(client.tell(Kind.STATUS).body)
    assert status["replica_id"] == "shared"
    assert status["memory_bytes"] > 1 << 20
    assert [(model["target"], model["max_batch"]) for model in status["models"]] == [(TARGET, 8)]


def test_load_report_is_given_again(client: Client, folder: Path) -> None:
    again = client.load(TARGET, "python", folder, "model.py", max_batch=8)
    report = orjson.loads(again.body)
    assert again.status == 200
    assert report["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
    assert set(report["load"]) == {"start_s", "fetch_s", "load_s", "warmup_s", "disk_bytes"}
    assert report["memory"]["peak_bytes"] >= report["memory"]["base_bytes"] > 0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param("def load(:", "model.py: cannot be imported: SyntaxError", id="syntax"),
        pytest.param("import nothing_like_this", "ModuleNotFoundError", id="import"),
        pytest.param("def load(): pass", "has no function predict()", id="no predict"),
        pytest.param("def load(): raise OSError('no weights')\ndef predict(m, i): ...", "no weights", id="load raises"),
        pytest.param("def load(): raise MemoryError\ndef predict(m, i): ...", "out of memory", id="memory"),
        pytest.param(
            MODEL.replace('"shape": [-1]}, {', '"shape": [-1, 5]}, {'),
            "is declared [-1, 5] and is [1]",
            id="outputs differ",
        ),
        pytest.param(
            MODEL.replace("x += 0", "raise KeyError('k')"),
            "input of zeros cannot be answered: KeyError",
            id="self-check raises",
        ),
        pytest.param("INPUTS = [3]\ndef load(): ...\ndef predict(m, i): ...", "INPUTS is not a list", id="INPUTS"),
    ],
)
def test_a_load_that_fails_says_why_and_the_process_lives(
    parent: Warm, shared: str, tmp_path: Path, source: str, words: str
) -> None:
    (tmp_path / "model.py").write_text(source)
    with parent.client(shared) as client:
        answer = client.load("broken@1", "python", tmp_path, "model.py", self_check=True)
        assert answer.status == 500
        assert words in error(answer)
        assert client.ask(client.infer(TARGET, body((1, 1)))).status == 200


def test_a_load_without_a_path(client: Client) -> None:
    answer = client.tell(Kind.LOAD, {"target": "m@2"})
    assert answer.status == 500
    assert "LOAD is not complete" in error(answer)


def test_a_zero_that_cannot_be_answered_is_no_reason_without_self_check(parent: Warm, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL.replace("x += 0", "x /= x.any()"))
    parent.fork("lenient")
    with parent.client("lenient") as client:
        assert client.load(TARGET, "python", tmp_path, "model.py").status == 200
        client.stop()


def test_unload_and_stop(parent: Warm, folder: Path) -> None:
    pid = parent.fork("short")
    parent.control.call("subscribe")
    with parent.client("short") as client:
        client.load(TARGET, "python", folder, "model.py", max_batch=4)
        client.load("m@2", "python", folder, "model.py", max_batch=4)
        assert client.tell(Kind.UNLOAD, target="m@2").status == 200
        assert client.tell(Kind.UNLOAD, target="m@2").status == 404
        request = client.infer(TARGET, body((1, 1)))
        client.send(request, Frame(Kind.STOP, 0))
        assert values(client.next())["sum"] == [2], "what was received is answered"
        with pytest.raises(ConnectionError):
            client.next()
    assert parent.control.exit_of(pid) == 0


def test_a_request_that_kills(parent: Warm, folder: Path) -> None:
    pid = parent.fork("victim")
    parent.control.call("subscribe")
    with parent.client("victim") as client:
        client.load(TARGET, "python", folder, "model.py")
        client.send(client.infer(TARGET, body((666, 1))))
        with pytest.raises(ConnectionError):
            client.next()
    assert os.WTERMSIG(parent.control.exit_of(pid)) == signal.SIGKILL
