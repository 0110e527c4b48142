"""``up`` and ``down`` as a user runs them: how a system begins, how it ends, and that nothing is left of it."""

import asyncio
import contextlib
import fcntl
import json
import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import onnx
import psutil
import pytest

from sizewise.backends.local.replica import STOP_GRACE_S
from sizewise.controller.layout import FORMAT
from tests.e2e import code_models
from tests.e2e.plane import doubling
from tests.e2e.steady_load import EXPECTED, ROW
from tests.e2e.system import Ran, System, interrupt, ready, replicas, seen_soon

TINY = Path(__file__).with_name("user_servers") / "tiny.py"


@pytest.fixture
def system() -> Iterator[System]:
    with System() as made:
        onnx.save(doubling(), str(made.models / "m.onnx"))
        yield made


def answers(system: System, name: str = "m") -> None:
    answer = system.ask(name, ROW)
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == EXPECTED


def test_sigterm_ends_all_of_it(system: System) -> None:
    child = system.foreground()
    answers(system)
    assert system.pids("replica", "m")
    interrupt(child, signal.SIGTERM)
    assert system.living() == []


def caught(system: System, until: str) -> tuple["subprocess.Popen[str]", "Future[httpx.Response]"]:
    """The foreground of a system, and a request that is being computed, by a model that goes on with ``until``."""
    started = system.folder / "started"
    os.mkfifo(started)
    begin = f"open({str(started)!r}, 'w').close()"
    code_models.write(system.models / "slow.py", predict=f"if inputs['x'][0][0] == 7: {begin}; {until}")
    child = system.foreground()
    asking = ThreadPoolExecutor(1)
    answer = asking.submit(system.ask, "slow", [7.0, 0.0, 0.0, 0.0])
    asking.shutdown(wait=False)
    started.open().close()  # waits until the model opens it, too
    return child, answer


async def test_sigterm_waits_for_a_request_in_flight(system: System) -> None:
    let_go = system.folder / "go"
    os.mkfifo(let_go)
    child, answer = caught(system, f"open({str(let_go)!r}).read()")
    port = system.port
    child.send_signal(signal.SIGTERM)
    await seen_soon(lambda: refuses(port))
    assert not answer.done()
    let_go.write_text("")
    found = await asyncio.to_thread(answer.result, 20)
    assert found.status_code == 200, found.text
    assert found.json()["outputs"][0]["data"] == [14.0, 0.0, 0.0, 0.0]
    child.communicate(timeout=20)
    assert child.returncode == 0
    assert system.living() == []


def refuses(port: int) -> bool:
    """It is told to end: no longer ready, or no longer there for new connections."""
    try:
        ready = httpx.get(f"http://127.0.0.1:{port}/v2/health/ready", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return True
    return ready.status_code == 503


def test_down_does_not_wait_for_a_call_that_hangs(system: System) -> None:
    never = system.folder / "never"
    os.mkfifo(never)
    _, answer = caught(system, f"open({str(never)!r}).read()")
    begun_s = time.monotonic()
    system.ok("down", "--drain-s", "1")
    assert time.monotonic() - begun_s < 1 + STOP_GRACE_S, "its time is over with the drain"
    assert system.living() == []
    with contextlib.suppress(httpx.HTTPError):
        assert answer.result(20).status_code >= 500


def test_a_signal_while_it_starts_leaves_nothing(system: System) -> None:
    words = system.command("up", system.models, "--port", "0", "--admin-port", "0", state=True)
    child = subprocess.Popen(words, cwd=system.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not system.pids("keeper"):
        assert child.poll() is None, child.communicate()
    child.terminate()
    child.communicate(timeout=40)
    assert system.living() == []


def test_detached_until_down(system: System) -> None:
    assert "clients   http" in system.up().out
    controller = psutil.Process(system.pids("controller")[0])
    assert os.getsid(controller.pid) == controller.pid, "no terminal can end it"
    answers(system)
    assert system.ok("down").out.strip().endswith(": stopped")
    assert system.living() == []
    assert system.ok("down").out.strip().endswith(": nothing was running")


@pytest.mark.parametrize("dead", [("controller", "keeper"), ("keeper", "controller", "gateway")])
def test_down_after_deaths(system: System, dead: tuple[str, ...]) -> None:
    system.up()
    answers(system)
    # The controller would start a new keeper at once: it goes first, or is stopped meanwhile
    controller = psutil.Process(system.pids("controller")[0])
    controller.suspend()
    for role in dead:
        system.kill(role)
    assert "stopped" in system.ok("down").out
    assert system.living() == []


def test_a_hung_controller_is_told_and_ended(system: System) -> None:
    system.up()
    answers(system)
    psutil.Process(system.pids("controller")[0]).suspend()
    begun_s = time.monotonic()
    ran = system.run("status")
    assert time.monotonic() - begun_s < 30
    assert ran.code == 1
    assert "does not answer within" in ran.line
    assert ran.line.endswith(f"end it with: sizewise down --state-dir {system.state_dir}")
    begun_s = time.monotonic()
    assert system.ok("down").out.strip().endswith(": stopped")
    assert time.monotonic() - begun_s < 60
    assert system.living() == []


def test_down_kills_nobody_who_does_not_hold_the_lock(system: System) -> None:
    """A crash leaves a pid in the lock file; by the time another controller holds the lock, it may be anybody's."""
    system.state_dir.mkdir()
    lock = system.state_dir / "controller.lock"
    with subprocess.Popen(["sleep", "60"]) as other, lock.open("w") as held:
        held.write(json.dumps({"pid": other.pid, "admin_url": "", "data_url": ""}))
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        ran = system.run("down")
        assert (ran.code, other.poll()) == (1, None)
        assert "not by the process that it names" in ran.line
        fcntl.flock(held, fcntl.LOCK_UN)
        other.kill()


@pytest.mark.parametrize("detach", [True, False], ids=["detached", "foreground"])
def test_a_taken_admin_port_is_one_line(system: System, detach: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = system.run("up", system.models, "--port", "0", "--admin-port", port, *(["--detach"] if detach else []))
    assert ran.code == 1
    assert str(port) in ran.line
    assert system.living() == []
    system.up()  # nothing half done stands in the way
    answers(system)


def test_a_state_folder_that_cannot_be_written(system: System) -> None:
    (system.folder / "file").write_text("")
    ran = system.run("up", system.models, "--detach", "--state-dir", str(system.folder / "file" / "state"), state=False)
    assert ran.code == 1
    assert "choose another --state-dir" in ran.line


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """A small file system of its own; skipped where nobody may mount."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", folder], check=False, capture_output=True)
    if done.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_read_only_file_system(system: System) -> None:
    with mounted(system.folder / "disk", "-o", "ro"):
        ran = system.run("up", system.models, "--detach", "--state-dir", system.folder / "disk/state", state=False)
    assert ran.code == 1
    assert "Read-only file system" in ran.line


def test_a_newer_format_is_refused(system: System) -> None:
    system.state_dir.mkdir()
    (system.state_dir / "format").write_text(f"{FORMAT + 1}\n")
    ran = system.run("up", system.models, "--detach")
    assert ran.code == 1
    assert f"has format {FORMAT + 1}, this version reads up to {FORMAT}" in ran.line
    assert sorted(path.name for path in system.state_dir.iterdir()) == ["format"]


def padded(system: System, size: int) -> Path:
    """A model of ``size`` bytes that loads."""
    model = doubling()
    model.metadata_props.add(key="padding", value="x" * size)
    path = system.models / "padded.onnx"
    onnx.save(model, str(path))
    return path


def test_a_disk_budget_that_is_too_small(system: System) -> None:
    padded(system, 3 << 20)
    spec = "m: {uri: models/m.onnx}\npadded: {uri: models/padded.onnx}"
    path = system.spec(spec, machine="{disk: 2MiB}")
    ran = system.run("up", path, "--detach", "--port", "0", "--admin-port", "0")
    assert ran.code == 3
    assert "'padded' needs 3.0 MiB of the disk budget but there is 2.0 MiB" in ran.line
    assert len(system.stored()) == 1
    answers(system)
    assert [each["name"] for each in system.status()["models"]] == ["m"]
    again = system.run("deploy", "padded", system.models / "padded.onnx")
    assert again.code == 3
    assert "undeploy a model or raise machine.disk" in again.line


def test_a_full_disk(system: System) -> None:
    with mounted(system.state_dir, "-o", "size=80m"):
        system.up()
        kept = system.stored()
        path = padded(system, 40 << 20)
        refused = system.run("deploy", "padded", path)
        assert refused.code == 3
        assert "of free disk space" in refused.line
        assert system.stored() == kept
        answers(system)
        assert [each["name"] for each in system.status()["models"]] == ["m"]
        system.ok("down")


def test_a_disk_that_becomes_full_halfway(system: System) -> None:
    """A limit on the size of files does what a full disk does, wherever tests run: writing fails in the middle."""
    child = system.foreground(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 20, 20 << 20)))
    kept = system.stored()
    refused = system.run("deploy", "padded", padded(system, 40 << 20))
    assert refused.code == 1
    assert "storing model 'padded' failed: File too large: nothing was kept, 40.0 MiB are needed" in refused.line
    assert system.stored() == kept
    answers(system)
    assert [each["name"] for each in system.status()["models"]] == ["m"]
    interrupt(child, signal.SIGTERM)


def test_a_new_controller_takes_over(system: System) -> None:
    for dead in (("controller",), ("controller", "keeper")):
        system.up()
        answers(system)
        before = system.pids("replica", "m")
        assert before
        for role in dead:
            system.kill(role)
        answered = system.up()
        assert "what ran before goes on" in answered.out
        assert system.pids("replica", "m") == before
        assert replicas(system.status(), "m") == before
        answers(system)


def difference(ran: Ran) -> list[str]:
    return [line.strip() for line in ran.out.splitlines() if line.startswith("  ") and "sizewise" not in line][:8]


async def test_a_changed_spec_prints_the_difference(system: System) -> None:
    onnx.save(doubling(), str(system.folder / "hand.onnx"))
    path = system.spec("a: {uri: models/m.onnx}\nb: {uri: models/m.onnx}\nc: {uri: models/m.onnx}")
    system.up(path)
    system.ok("deploy", "hand", system.folder / "hand.onnx")
    system.spec("a: {uri: models/m.onnx}\nb: {uri: models/m.onnx, slo: {p95_ms: 50}}\nd: {uri: models/m.onnx}")
    again = system.up(path)
    assert difference(again) == [
        "+ d",
        "~ b (changed)",
        "- c",
        "= hand (deployed by hand; --prune removes it)",
        "1 unchanged",
    ]
    assert {each["name"] for each in system.status()["models"]} == {"a", "b", "d", "hand"}
    assert difference(system.up(path, "--prune")) == ["- hand", "3 unchanged"]
    status = await system.until(lambda seen: {each["name"] for each in seen["models"]} == {"a", "b", "d"})
    assert all(each["origin"] == "spec" for each in status["models"])


async def test_what_was_deployed_by_hand_is_there_after_a_restart(system: System) -> None:
    system.up()
    system.ok("deploy", "hand", system.models / "m.onnx", "--min-replicas", "1")
    await system.until(ready("hand"))
    system.ok("down")
    again = system.up()
    assert difference(again)[:2] == ["= hand (deployed by hand; --prune removes it)", "1 unchanged"]
    await system.until(ready("hand"))
    answers(system, "hand")
    system.ok("down")
    system.ok("up", "--detach", "--port", "0", "--admin-port", "0")  # without a spec: what was served before
    answers(system)
    answers(system, "hand")


def test_a_folder_is_a_spec(system: System) -> None:
    onnx.save(doubling(), str(system.models / "Upper Case.onnx"))
    (system.models / "notes.txt").write_text("no model")
    (system.models / "deep").mkdir()
    started = json.loads(system.up(system.models, "-o", "json").out)
    assert "m" in started["difference"]["added"]
    answers(system)
    assert started["models"] == sorted(each["name"] for each in system.status()["models"])


async def test_logs_profile_and_down_by_address(system: System) -> None:
    system.up()
    url = system.status()["admin_url"]
    mine = system.ok("logs", "keeper", "-n", "3")
    assert mine.out
    assert system.ok("logs", "keeper", "-n", "3", "--url", url).out.splitlines()[0] == mine.out.splitlines()[0]
    assert "give --state-dir instead" in system.run("logs", "-f", "--url", url).line
    queued = system.ok("profile", "m", "--running", "--url", url, "-o", "json").json
    assert queued == {"models": [{"name": "m", "state": "queued"}]}
    assert "'x' not found" in system.run("profile", "x", "--running").line
    assert "needs the admin token" in system.run("down", "--url", url, state=False).line
    assert system.ok("down", "--url", url, "-o", "json").json == {"url": url, "state": "stopping"}
    await seen_soon(lambda: system.living() == [], 20)


async def test_a_server_is_deployed_by_its_command_line(system: System) -> None:
    system.up()
    tiny = shlex.join([sys.executable, str(TINY), "{port}"])
    refused = system.run("deploy", "tiny", "--command", tiny)
    assert (refused.code, "--allow-code" in refused.line) == (1, True)
    for wrong in ((), ("m.onnx", "--command", tiny)):
        assert system.run("deploy", "tiny", *wrong, "--allow-code").code == 2
    system.ok("deploy", "tiny", "--command", tiny, "--ready-path", "/up", "--max-replicas", "1", "--allow-code")
    url = f"{system.status()['data_url']}/models/tiny/anything"
    answer = await asyncio.to_thread(httpx.get, url, timeout=30, trust_env=False)
    # What status says may be a moment old
    seen = await system.until(lambda status: any(each["model"] == "tiny" for each in status["processes"]))
    (process,) = [each for each in seen["processes"] if each["model"] == "tiny"]
    assert (process["role"], answer.json()) == ("command", {"pid": process["pid"]})
    assert psutil.Process(process["pid"]).cwd() == str(system.folder), "where it was typed"


def test_a_foreground_ends_with_down(system: System) -> None:
    child = system.foreground()
    answers(system)
    system.ok("down")
    child.communicate(timeout=20)
    assert child.returncode == 0
    assert system.living() == []
