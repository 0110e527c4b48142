"""The commands against real systems: up, use, look, down, and every way in which starting or ending goes wrong."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from sizewise.controller.layout import read_holder
from sizewise.demo.onnx_files import write_random_mlp
from sizewise.protocols.control import run_dir

PORTS = ("--port", "0", "--admin-port", "0")
SLOW = """
import time
from pathlib import Path
INPUTS = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
OUTPUTS = [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]

def load():
    return None

def predict(model, inputs):
    if float(inputs["x"][0, 0]) == 7:
        open(%r, "w").close()
        time.sleep(600)
    return {"y": inputs["x"]}
"""
# A shell may have started the tests with SIGINT ignored, which every child inherits
HEARING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from sizewise.cli.main import main
main()
"""


@dataclass
class Site:
    """A folder with a model, and the commands run in it."""

    folder: Path

    @property
    def state_dir(self) -> Path:
        return self.folder / ".sizewise"

    def run(self, *args: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self.command(*args), cwd=self.folder, capture_output=True, text=True, check=False)

    def ok(self, *args: str) -> str:
        done = self.run(*args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *args: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ok(*args, "-o", "json"))
        return found

    def start(self, *args: str) -> "subprocess.Popen[str]":
        """In the foreground; returns once it serves."""
        running = subprocess.Popen(
            self.command("up", *args, *PORTS),
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("next:"):
                return running
        raise AssertionError(running.communicate()[1])

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-c", HEARING, *args]

    def living(self) -> list[psutil.Process]:
        found, mark = [], str(self.folder)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # zombies wait for a parent that is not ours to be
                if mark in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


@pytest.fixture
def site() -> Iterator[Site]:
    # Short, as a socket's path has at most 107 bytes
    folder = Path(tempfile.mkdtemp(prefix="sizewise-"))
    (folder / "models").mkdir()
    write_random_mlp(folder / "models" / "Digits.onnx", [4, 8, 2], seed=7)
    made = Site(folder)
    yield made
    made.run("down", "--drain-s", "0")
    left = made.living()
    for process in left:
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)
    assert not left


def until(ready: Any, within_s: float = 20.0) -> None:
    ends_s = time.monotonic() + within_s
    while not ready():
        assert time.monotonic() < ends_s
        time.sleep(0.02)


def test_a_day_in_the_life(site: Site) -> None:
    started = site.json("up", "models", "--detach", *PORTS)
    assert started["models"] == ["digits"]
    assert started["difference"]["added"] == ["digits"]

    until(lambda: site.json("status")["models"][0]["state"] in {"cold", "ready"})
    assert "digits" in site.ok("status")
    explained = site.json("explain", "digits", "-n", "3")
    assert explained["model"]["name"] == "digits"

    model = str(site.folder / "models" / "Digits.onnx")
    deployed = site.json("deploy", "second", model, "--slo-p95-ms", "25", "--max-replicas", "2", "--wait")
    assert (deployed["name"], deployed["slo"]) == ("second", {"quantile": 0.95, "latency_s": 0.025})
    changed = site.json("deploy", "second", model, "--slo-p99-ms", "30")
    assert changed["slo"] == {"quantile": 0.99, "latency_s": 0.03}

    again = site.run("up", "models", "--detach")
    assert again.returncode == 0
    assert "= second (deployed by hand; --prune removes it)" in again.stdout
    assert "- second" in site.ok("up", "models", "--detach", "--prune")
    assert [each["name"] for each in site.json("status")["models"]] == ["digits"]

    site.ok("deploy", "second", model)
    assert site.ok("undeploy", "second") == "second: undeployed\n"
    gone = site.run("undeploy", "second")
    assert (gone.returncode, gone.stderr.count("\n")) == (1, 1)
    assert "'second' not found" in gone.stderr
    assert site.ok("logs", "-n", "5")

    assert site.ok("down") == ".sizewise: stopped\n"
    assert not site.living()


def test_the_example_that_up_prints_works(site: Site) -> None:
    lines = site.ok("up", "models", "--detach", *PORTS).splitlines()
    (example,) = [line.strip() for line in lines if "curl" in line]
    assert "/infer -d " in example
    done = subprocess.run(example, shell=True, capture_output=True, text=True, check=True)  # what a person would do
    assert json.loads(done.stdout)["model_name"] == "digits"


def test_ctrl_c_drains_and_ends_everything(site: Site) -> None:
    running = site.start("models")
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 0
    assert "requests in flight are answered first" in said
    assert "Traceback" not in said
    assert not site.living()


def test_a_second_ctrl_c_does_not_wait_for_requests(site: Site) -> None:
    entered = site.folder / "entered"
    os.mkfifo(entered)
    (site.folder / "models" / "slow.py").write_text(SLOW % str(entered))
    running = site.start("models")
    url = site.json("status")["data_url"]
    tensor = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [7] * 4}]}
    calling = subprocess.Popen(
        [sys.executable, "-c", "import sys, urllib.request as u; u.urlopen(sys.argv[1], sys.argv[2].encode())",
         f"{url}/v2/models/slow/infer", json.dumps(tensor)],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with entered.open():  # waits until the model computes
        running.send_signal(signal.SIGINT)
    assert running.stderr is not None
    for line in running.stderr:
        if "Ctrl-C again" in line:
            break
    until(lambda: "ending everything" in (site.state_dir / "logs" / "keeper.log").read_text())
    began_s = time.monotonic()
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    assert time.monotonic() - began_s < 25, "the drain alone would have taken 30 s"
    calling.wait(timeout=10)
    assert not site.living()


def test_a_second_up_says_who_holds_it(site: Site) -> None:
    running = site.start("models")
    second = site.run("up", "models", *PORTS)
    assert second.returncode == 1
    assert f"pid {running.pid}" in second.stderr
    assert second.stderr.count("\n") == 1
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=30)


def test_down_works_with_the_controller_or_the_keeper_dead(site: Site) -> None:
    for role in ("controller", "keeper"):
        site.ok("up", "models", "--detach", *PORTS)
        processes = site.json("status")["processes"]
        (pid,) = [process["pid"] for process in processes if process["role"] == role]
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not psutil.pid_exists(pid))
        assert site.ok("down") == ".sizewise: stopped\n"
        assert not site.living()


@pytest.mark.parametrize("detach", [(), ("--detach",)], ids=["foreground", "detached"])
def test_a_taken_port_is_one_line_and_leaves_nothing(site: Site, detach: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = site.run("up", "models", "--port", port, "--admin-port", "0", *detach)
    assert done.returncode == 1
    assert port in done.stderr
    assert done.stderr.count("\n") == 1
    assert not site.living()


def test_a_foreign_address_needs_keys(site: Site) -> None:
    done = site.run("up", "models", "--host", "0.0.0.0", "--detach", *PORTS)
    assert done.returncode == 2
    assert "--insecure" in done.stderr
    assert not site.living()


def test_a_model_that_is_broken_does_not_keep_the_others(site: Site) -> None:
    (site.folder / "models" / "broken.onnx").write_bytes(b"\x08\x09garbage")
    done = site.run("up", "models", "--detach", *PORTS)
    assert done.returncode == 1
    assert "model 'broken' is not served" in done.stderr
    assert [model["name"] for model in site.json("status")["models"]] == ["digits"]


def test_code_needs_consent(site: Site) -> None:
    path = site.folder / "code.py"
    path.write_text(SLOW % "")
    site.ok("up", "models", "--detach", *PORTS)
    refused = site.run("deploy", "code", str(path))
    assert refused.returncode == 1
    assert "--allow-code" in refused.stderr
    assert site.json("deploy", "code", str(path), "--allow-code")["runtime"] == "python"


def test_a_spec_in_the_folder_is_found(site: Site) -> None:
    (site.folder / "sizewise.yaml").write_text("models:\n  d: {uri: models/Digits.onnx, slo: {p95_ms: nope}}\n")
    done = site.run("up", *PORTS)
    assert done.returncode == 2
    assert "sizewise.yaml:2: models.d.slo.p95_ms: is text: give a number" in done.stderr
    assert not (site.state_dir / "controller.lock").exists(), "nothing was begun"
    assert read_holder(site.state_dir) is None
    assert not any(run_dir(site.state_dir).glob("*.sock"))


def test_watch_ends_with_ctrl_c(site: Site) -> None:
    site.ok("up", "models", "--detach", *PORTS)
    watching = subprocess.Popen(
        site.command("status", "--watch", "-o", "json"),
        cwd=site.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    assert first["models"][0]["name"] == "digits"
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=10)
    assert (watching.returncode, said) == (0, "")
