"""What the kernel tells about processes. Everything here is a short read; a process that has gone reads as nothing."""

import contextlib
from pathlib import Path

import psutil

PROC = Path("/proc")


def _stat_fields(pid: int) -> list[bytes]:
    """Fields of ``/proc/PID/stat`` from the third on; the second is a name that may hold anything."""
    with contextlib.suppress(OSError, ValueError):
        return (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    return []


def start_ticks(pid: int) -> int | None:
    """When the process started, in ticks since boot: with the pid it names one process for good. None: gone."""
    fields = _stat_fields(pid)
    return int(fields[19]) if len(fields) > 19 else None


def group_members(group: int) -> tuple[int, ...]:
    """Living processes of a process group; those that have ended and wait for their parent are not counted."""
    members = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat_fields(int(entry.name))
            if len(fields) > 2 and int(fields[2]) == group and fields[0] not in {b"Z", b"X"}:
                members.append(int(entry.name))
    return tuple(members)


def process_tree(pid: int) -> tuple[int, ...]:
    """The process and all its descendants."""
    found, todo = [pid], [pid]
    while todo:
        children = _children(todo.pop())
        found += children
        todo += children
    return tuple(found)


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for task in (PROC / str(pid) / "task").iterdir():
            children += [int(word) for word in (task / "children").read_bytes().split()]
    except (FileNotFoundError, ProcessLookupError):
        # Gone, or a kernel built without these files: psutil scans all processes instead
        with contextlib.suppress(psutil.Error):
            children = [child.pid for child in psutil.Process(pid).children()]
    return children


def oom_kills() -> int:
    """Processes that the kernel has ended for want of memory since boot, 0 where it does not count them."""
    with contextlib.suppress(OSError, ValueError):
        for line in (PROC / "vmstat").read_bytes().splitlines():
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return 0


def prefer_in_oom(pid: int, score: int) -> None:
    """Tell the kernel whom to end first when memory runs out (1000) or last (-1000); lowering needs a privilege."""
    with contextlib.suppress(OSError):
        (PROC / str(pid) / "oom_score_adj").write_text(str(score))
