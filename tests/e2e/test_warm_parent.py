"""The warm parent as a real process: forks, reaps, tells, and outlives whoever asks it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.warm_replicas import Control, Warm, warm


@pytest.fixture
def parent() -> Iterator[Warm]:
    with warm("python") as started:
        yield started


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def test_a_replica_says_what_it_is(parent: Warm) -> None:
    pid = parent.fork("a", model="digits")
    with parent.client("a") as client:
        assert client.hello["pid"] == pid
    assert command_line(pid) == f"sizewise replica digits --state-dir {parent.folder}"
    assert command_line(parent.process.pid) == f"sizewise warm python --state-dir {parent.folder}"
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) >= 500


def test_a_replica_keeps_nothing_of_its_parent(parent: Warm) -> None:
    parent.fork("a")
    pid = parent.fork("b")
    with parent.client("b"):
        names = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        # its listener, this connection, and the pair by which its event loop wakes itself
        assert len([name for name in names if name.startswith("socket:")]) <= 4
        assert not [name for name in names if "pidfd" in name]
        assert Path(f"/proc/{parent.process.pid}/status").read_text().count("Threads:\t1\n") == 1


def test_the_same_id_twice_is_one_process(parent: Warm) -> None:
    assert parent.fork("a") == parent.fork("a")


def test_a_death_is_told_and_kept_until_it_is_acknowledged(parent: Warm) -> None:
    pid = parent.fork("a")
    other = parent.fork("b")
    with parent.client("a"):
        parent.control.call("subscribe")
        os.kill(pid, signal.SIGKILL)
        exit_ = {"replica_id": "a", "pid": pid, "status": int(signal.SIGKILL)}
        assert parent.control.event() == {"event": "exit", **exit_}
    parent.control.close()

    parent.control = Control(parent.path)  # another keeper
    listed = parent.control.call("list")
    assert (listed["children"], listed["exits"]) == ({"b": other}, [exit_])
    parent.control.call("ack", pid=pid)
    assert parent.control.call("list")["exits"] == []
    assert not (parent.folder / "r-a.sock").exists()
    assert parent.fork("a") != pid, "its id may be used again"


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_replicas_outlive_their_parent(parent: Warm, how: str) -> None:
    parent.fork("a")
    with parent.client("a"):
        pass
    if how == "stop":
        assert parent.control.call("stop")["ok"]
    else:
        parent.process.kill()
    parent.process.wait(10)
    with parent.client("a") as client:
        assert client.hello["replica_id"] == "a"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"op": "fork", "replica_id": "../x", "model": "m"}, "letters, digits", id="id"),
        pytest.param({"op": "fork", "replica_id": "a", "model": "m", "log": "/none/x"}, "No such file", id="log"),
        pytest.param({"op": "fork"}, "replica_id", id="nothing given"),
        pytest.param({"op": "dance"}, "unknown operation 'dance'", id="operation"),
    ],
)
def test_what_cannot_be_done_is_said(parent: Warm, tmp_path: Path, fields: dict[str, str], words: str) -> None:
    answer = parent.control.call(**{"log": str(tmp_path / "log"), **fields})
    assert not answer["ok"]
    assert words in answer["error"]
    assert parent.control.call("list")["ok"]


def test_a_replica_started_by_exec(tmp_path_factory: pytest.TempPathFactory, parent: Warm) -> None:
    where = ["--run-dir", str(parent.folder), "--state-dir", str(parent.folder)]
    program = [sys.executable, "-m", "sizewise.replica", "--replica-id", "e", "--model", "m", *where]
    with subprocess.Popen(program, stderr=subprocess.DEVNULL) as process:
        with parent.client("e") as client:
            assert client.hello["pid"] == process.pid
            client.stop()
        assert process.wait(10) == 0
