"""Folders that are written once, sealed, and removed as a whole."""

import os
import shutil
from pathlib import Path


def seal(folder: Path) -> None:
    """Read only, for its owner too: a mapped file that changes kills its readers."""
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)


def sync(folder: Path) -> None:
    """Have everything in it on the disk before a name leads to it."""
    for path in (*folder.rglob("*"), folder):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def tree_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def delete(folder: Path) -> None:
    """Sealed or not; what is mapped lives on until its last reader ends."""
    if not folder.is_dir():
        return
    for path in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
        path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
