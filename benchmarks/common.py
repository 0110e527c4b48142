"""What the benchmarks share: a running Sizewise, process trees and their CPU, wrk, and a dated result file."""

import contextlib
import datetime as dt
import json
import math
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

RESULTS = Path(__file__).parent / "results"
BUDGETS = Path(__file__).parent / "budgets.toml"
WRK_SCRIPT = Path(__file__).parent / "post.lua"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One measured window of closed-loop load."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    cores: float
    """CPU seconds of the server's processes over the seconds of the window."""

    @property
    def requests_per_core_s(self) -> float:
        return self.requests_per_s / self.cores if self.cores else 0.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_s(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


def tree(pid: int) -> list[int]:
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


JSON_HEADERS = {"Content-Type": "application/json"}


def need_wrk() -> None:
    """Exits in one line when wrk is missing."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")


def wrk(
    url: str,
    body: Path,
    *,
    connections: int,
    seconds: float,
    pids: list[int],
    headers: Mapping[str, str] = JSON_HEADERS,
) -> Window:
    """Closed-loop load from one wrk thread. Exits in one line when wrk is missing."""
    need_wrk()
    before = cpu_s(pids)
    started = time.perf_counter()
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s", "-s", str(WRK_SCRIPT), url],
        env={**os.environ, "BODY_FILE": str(body), "BODY_HEADERS": "".join(f"{k}: {v}\n" for k, v in headers.items())},
        capture_output=True,
        text=True,
        check=True,
    )
    wall_s = time.perf_counter() - started
    cores = (cpu_s(pids) - before) / wall_s
    line = re.search(r"RESULT (\{.*\})", done.stdout)
    assert line is not None, done.stdout + done.stderr
    got = json.loads(line.group(1))
    return Window(
        requests_per_s=got["requests"] / (got["us"] / 1e6),
        p50_ms=got["p50_us"] / 1e3,
        p99_ms=got["p99_us"] / 1e3,
        errors=got["errors"],
        cores=cores,
    )


def median_window(windows: list[Window]) -> Window:
    def middle(name: str) -> float:
        return float(statistics.median(getattr(w, name) for w in windows))

    return Window(
        requests_per_s=middle("requests_per_s"),
        p50_ms=middle("p50_ms"),
        p99_ms=middle("p99_ms"),
        errors=sum(w.errors for w in windows),
        cores=middle("cores"),
    )


class Sizewise:
    """A detached `sizewise up` in a folder of its own; `down` at the end, whatever happened."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sizewise-bench-"))
        self.state = self.folder / "state"
        self.port, self.admin_port = free_port(), free_port()
        ports = {"port": self.port, "admin_port": self.admin_port}
        spec = {"project": "bench", **spec, "serving": {**ports, **spec.get("serving", {})}}
        (self.folder / "sizewise.yaml").write_text(json.dumps(spec))
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Sizewise":
        self.cli("up", str(self.folder / "sizewise.yaml"), "--detach")
        return self

    def __exit__(self, *_: object) -> None:
        self.cli("down")
        shutil.rmtree(self.folder, ignore_errors=True)

    def cli(self, *args: str) -> str:
        done = self._run(*args)
        if done.returncode:
            sys.exit(f"{' '.join(args)}: {done.stderr or done.stdout}")
        return done.stdout

    def bench(self, *args: str) -> str:
        """A report of `sizewise bench` as JSON, also where the generator calls itself the limit."""
        done = self._run("bench", *args, "-o", "json")
        if not done.stdout.startswith("{"):
            sys.exit(f"bench {' '.join(args)}: {done.stderr}")
        return done.stdout

    def _run(self, *args: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "sizewise", *args, "--state-dir", str(self.state)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.cli("status", "-o", "json"))
        return status

    def pids(self, *roles: str) -> list[int]:
        return [p["pid"] for p in self.status()["processes"] if not roles or p["role"] in roles]


@contextlib.contextmanager
def server(
    command: list[str], url: str | None, env: dict[str, str], cwd: Path, *, port: int | None = None
) -> Iterator[int]:
    """Another program's server, started and answering at ``url`` or listening on ``port``; ended by its own process."""
    process = subprocess.Popen(
        command, env={**os.environ, **env}, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not answers(url, port):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{command[0]} did not start")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def answers(url: str | None, port: int | None) -> bool:
    with contextlib.suppress(httpx.HTTPError, OSError):
        if url is not None:
            httpx.get(url)
        else:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    return False


def pss_bytes(pid: int) -> int:
    """Proportional set size: shared pages are divided among those who share them."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE).group(1)) * 1024  # type: ignore[union-attr]


def save(name: str, rows: list[dict[str, Any]], *, note: str, figures: dict[str, float]) -> None:
    """Print the rows and write them, with machine, versions and date, to ``results/NAME_CPUS_DATE.json``.

    ``figures`` are held against ``budgets.toml``: each is printed with its aim, one outside its limits is said, and the
    exit status is 1.
    """
    import onnxruntime

    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    record = {
        "benchmark": name,
        "note": note,
        "date": today,
        "machine": {"cpu": cpu_name(), "cpus": os.cpu_count(), "memory_bytes": psutil.virtual_memory().total},
        "versions": {"python": platform.python_version(), "onnxruntime": onnxruntime.__version__},
        "figures": figures,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}_{os.cpu_count()}cpu_{today}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    for row in rows:
        print("  ".join(f"{key}={value}" for key, value in row.items()))
    print(f"wrote {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path.name}")
    for figure, value in figures.items():
        print(beside_aim(name, figure, value))
    missed = [line for figure, value in figures.items() if (line := over_budget(name, figure, value))]
    if missed:
        sys.exit("\n".join(missed))


def margin95(values: Sequence[float]) -> float:
    """Half of the 95 % interval of their mean, by the normal distribution; 0 for a single one."""
    return 1.96 * statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


def beside_aim(name: str, figure: str, value: float) -> str:
    """One line: the figure, what it is to reach, and whether it does."""
    limits = limits_of(name, figure)
    if not limits:
        return f"{figure}: {value:g}"
    least = "least" in limits
    aim = limits.get("aim", limits["least" if least else "most"])
    met = value >= aim if least else value <= aim
    return f"{figure}: {value:g}, aim {'>=' if least else '<='} {aim:g}, {'met' if met else 'missed'}"


def limits_of(name: str, figure: str) -> dict[str, float]:
    found: dict[str, float] = tomllib.loads(BUDGETS.read_text()).get(name, {}).get(figure, {})
    return found


def over_budget(name: str, figure: str, value: float) -> str | None:
    """One line when a figure is outside ``budgets.toml``, or has no limits there."""
    limits = limits_of(name, figure)
    if not limits:
        return f"{name}: {figure} is {value:g}, and budgets.toml has no limits for it"
    if value > limits.get("most", value) or value < limits.get("least", value):
        return f"{name}: {figure} is {value:g}, outside {limits}"
    return None


def cpu_name() -> str:
    match = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return match.group(1) if match else platform.machine()


def row_of(label: str, window: Window, **more: Any) -> dict[str, Any]:
    figures = {key: round(value, 3) for key, value in asdict(window).items()}
    return {"server": label, **more, **figures, "requests_per_core_s": round(window.requests_per_core_s)}
