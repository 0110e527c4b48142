"""Log files: appended to, and bounded when a process starts."""

from pathlib import Path
from typing import BinaryIO

from sizewise.core.units import MIB

MAX_LOG_BYTES = 10 * MIB


def open_log(path: Path) -> BinaryIO:
    """Open for appending; a file over 10 MiB first becomes ``NAME.1``, in place of the one before."""
    bound_log(path)
    return path.open("ab", buffering=0)


def bound_log(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))


def last_line(path: Path, *, since_bytes: int = 0) -> str:
    """The last line that is not empty, among those written after the first ``since_bytes`` bytes; empty if none."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(since_bytes if since_bytes <= end else 0, end - 16384))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
