"""What a machine has, read from files as the kernel writes them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sizewise.backends.local.machine import Machine, Roots, find_machine
from sizewise.core.units import GIB

MEMINFO = f"MemTotal: {8 * GIB // 1024} kB\nMemFree: 1 kB\nMemAvailable: {6 * GIB // 1024} kB\n"


def machine(tmp_path: Path, cgroup: str, files: dict[str, str], limits: str = "") -> Machine:
    proc, mount = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    mount.mkdir()
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "self" / "cgroup").write_text(cgroup)
    (proc / "self" / "limits").write_text(limits)
    for name, text in files.items():
        path = mount / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return find_machine(tmp_path / "not" / "made" / "yet", Roots(proc=proc, cgroup=mount))


@pytest.mark.parametrize(
    ("cgroup", "files", "total", "available"),
    [
        pytest.param("", {}, 8 * GIB, 6 * GIB, id="no cgroup"),
        pytest.param("0::/a/b\n", {"a/b/memory.max": "max"}, 8 * GIB, 6 * GIB, id="v2 without a limit"),
        pytest.param(
            "0::/a/b\n",
            {"a/memory.max": str(4 * GIB), "a/memory.current": str(GIB), "a/b/memory.max": "max"},
            4 * GIB,
            3 * GIB,
            id="v2: a folder above limits",
        ),
        pytest.param(
            "4:memory:/host/only\n0::/\n",
            {"memory/memory.limit_in_bytes": str(2 * GIB), "memory/memory.usage_in_bytes": str(GIB)},
            2 * GIB,
            GIB,
            id="v1 in a container: only the mount's root is there",
        ),
        pytest.param(
            "4:memory:/\n", {"memory/memory.limit_in_bytes": str(2**63 - 4096)}, 8 * GIB, 6 * GIB, id="v1 no limit"
        ),
    ],
)
def test_memory(tmp_path: Path, cgroup: str, files: dict[str, str], total: int, available: int) -> None:
    found = machine(tmp_path, cgroup, files)
    assert (found.memory_bytes, found.memory_available_bytes) == (total, available)


def limits(*, data: object = "unlimited", address_space: object = "unlimited") -> str:
    """A few lines of /proc/self/limits."""
    return (
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        f"Max data size             {data:<20} unlimited            bytes     \n"
        "Max resident set          1024                 1024                 bytes     \n"
        f"Max address space         {address_space:<20} unlimited            bytes     \n"
    )


@pytest.mark.parametrize(
    ("text", "total", "available"),
    [
        pytest.param("", 4 * GIB, 3 * GIB, id="not told"),
        pytest.param(limits(), 4 * GIB, 3 * GIB, id="unlimited"),
        pytest.param(limits(data=2 * GIB), 2 * GIB, 2 * GIB, id="data"),
        pytest.param(limits(data=2 * GIB, address_space=GIB), GIB, GIB, id="address space: the lower one"),
        pytest.param(limits(address_space=7 * GIB // 2), 7 * GIB // 2, 3 * GIB, id="more than is available"),
        pytest.param(limits(address_space=64 * GIB), 4 * GIB, 3 * GIB, id="more than there is"),
    ],
)
def test_limits_of_the_process_cap_memory_beside_the_cgroup(
    tmp_path: Path, text: str, total: int, available: int
) -> None:
    files = {"a/memory.max": str(4 * GIB), "a/memory.current": str(GIB)}
    found = machine(tmp_path, "0::/a\n", files, text)
    assert (found.memory_bytes, found.memory_available_bytes) == (total, available)


@pytest.mark.parametrize(
    ("cgroup", "files", "quota"),
    [
        pytest.param("0::/a\n", {"a/cpu.max": "max 100000"}, None, id="v2 without a quota"),
        pytest.param("0::/a\n", {"a/cpu.max": "50000 100000"}, 0.5, id="v2: half a processor"),
        pytest.param(
            "1:cpu,cpuacct:/\n",
            {"cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "100000"},
            0.25,
            id="v1: a quarter",
        ),
        pytest.param(
            "1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None, id="v1 without"
        ),
    ],
)
def test_cpus(tmp_path: Path, cgroup: str, files: dict[str, str], quota: float | None) -> None:
    everything = float(len(os.sched_getaffinity(0)))
    assert machine(tmp_path, cgroup, files).cpus == (everything if quota is None else quota)


def test_a_limit_of_this_process_is_seen(tmp_path: Path) -> None:
    """As the kernel words it."""
    code = (
        "import resource, pathlib; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30));"
        "from sizewise.backends.local.machine import find_machine;"
        f"print(find_machine(pathlib.Path({str(tmp_path)!r})).memory_bytes)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == GIB


def test_this_machine(tmp_path: Path) -> None:
    found = find_machine(tmp_path)
    assert found.cpus > 0
    assert 0 < found.memory_available_bytes <= found.memory_bytes
    assert 0 < found.disk_free_bytes <= found.disk_bytes
