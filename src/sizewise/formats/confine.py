"""A model stays in its folder: what its files may be, and how they are opened and read.

Files are read with ``pread``, never mapped: a mapped file that somebody truncates kills its reader with SIGBUS.
"""

import os
import stat
from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

from sizewise.formats.found import FormatError, UnsafeError, shown

MAX_FILES = 10_000
MAX_DEPTH = 16
SKIPPED_FOLDERS = frozenset({".git", ".cache", "__pycache__", ".ipynb_checkpoints"})
_WINDOW_BYTES = 16 * 1024

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


class Source:
    """A regular file that is read by position. Closes with ``with``.

    Opening never follows a symbolic link and never waits (a named pipe would). Raises UnsafeError for anything but a
    regular file and FormatError for an empty one.
    """

    __slots__ = ("_descriptor", "_window", "_window_at", "name", "size")

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._window = b""
        self._window_at = 0
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            # A link, a socket or a device without a driver does not open; say which it was
            check_regular(path.lstat(), path.name)
            raise
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        try:
            check_regular(status, path.name)
            if not self.size:
                raise FormatError("is empty")
        except FormatError:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, count: int) -> bytes:
        """Exactly ``count`` bytes from ``offset``. Raises FormatError where the file ends before."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise FormatError(f"ends at byte {self.size} where bytes up to {offset + count} should be")
        at = offset - self._window_at
        if at >= 0 and at + count <= len(self._window):
            return self._window[at : at + count]
        return self._read_whole(offset, count)

    def window(self, offset: int) -> tuple[bytes, int]:
        """Bytes around ``offset`` that are at hand, and the offset of the first: at least 32 from it or to the end."""
        at = offset - self._window_at
        if at < 0 or at + 32 > len(self._window):
            self._window = self._read_whole(offset, min(_WINDOW_BYTES, self.size - offset))
            self._window_at = offset
        return self._window, self._window_at

    def stream(self) -> BinaryIO:
        """The same bytes as a stream of its own position."""
        return cast("BinaryIO", BufferedReader(_Stream(self)))

    def _read_whole(self, offset: int, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            part = os.pread(self._descriptor, min(count, 1 << 30), offset)
            if not part:
                raise FormatError("was changed while it was read", "copy it once it is complete")
            parts.append(part)
            offset += len(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class _Stream(RawIOBase):
    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer") -> int:
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._source.size - self._at))
        view[:count] = self._source.read(self._at, count) if count else b""
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        self._at = start + offset
        return self._at


class BytesSource:
    """Bytes at hand, read like a file: an archive inside an archive."""

    __slots__ = ("_data", "name", "size")

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self.name = name
        self.size = len(data)

    def read(self, offset: int, count: int) -> bytes:
        if offset < 0 or count < 0 or offset + count > self.size:
            raise FormatError(f"holds {shown(self.name)}, which is cut off")
        return self._data[offset : offset + count]


def check_regular(status: os.stat_result, name: str, *, links: bool = False) -> None:
    """Raises UnsafeError unless this is a regular file; with ``links``, one that no other name leads to."""
    for is_kind, what in _KINDS:
        if is_kind(status.st_mode):
            raise UnsafeError(f"{shown(name)} is {what}, not a regular file", "put a copy of the file in its place")
    if links and status.st_nlink > 1:
        raise UnsafeError(
            f"{shown(name)} is a hard link, so that a file elsewhere could change it", "copy the folder with cp -rL"
        )


def member_path(folder: Path, location: str) -> Path:
    """The file that a model names as ``location``, relative to its folder.

    Raises UnsafeError when that is not a plain relative path of regular files and folders inside ``folder``.
    """
    parts = location.split("/")
    if "_ORT_MEM_ADDR_" in location:
        raise UnsafeError("asks for an address in memory as external data")
    if not location or location.startswith("/") or "\\" in location or not location.isprintable():
        raise UnsafeError(f"names the file {shown(location)}, which is not a path inside its folder")
    if any(part in ("", ".", "..") for part in parts) or len(parts) > MAX_DEPTH:
        raise UnsafeError(f"names the file {shown(location)}, which is not a plain path inside its folder")
    path = folder
    for part in parts[:-1]:
        path /= part
        if not stat.S_ISDIR(_status(path, location).st_mode):
            raise UnsafeError(f"names the file {shown(location)}, which passes through something that is not a folder")
    path /= parts[-1]
    check_regular(_status(path, location), location, links=True)
    return path


def _status(path: Path, location: str) -> os.stat_result:
    try:
        return path.lstat()
    except (OSError, ValueError) as error:
        raise FormatError(f"needs the file {shown(location)}, which is not there", "put it beside the model") from error


def folder_files(folder: Path) -> tuple[str, ...]:
    """Every file below ``folder`` that belongs to a model, relative to it, sorted.

    Raises UnsafeError for links, devices and the like, FormatError for more files than a model has.
    """
    files: list[str] = []
    for path in _walk(folder, 0):
        files.append(path.relative_to(folder).as_posix())
        if len(files) > MAX_FILES:
            raise FormatError(f"holds more than {MAX_FILES} files", "name the model's own folder or file")
    return tuple(sorted(files))


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    if depth > MAX_DEPTH:
        raise FormatError(f"holds folders more than {MAX_DEPTH} deep", "name the model's own folder or file")
    with os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                if entry.name not in SKIPPED_FOLDERS:
                    yield from _walk(folder / entry.name, depth + 1)
                continue
            check_regular(status, entry.name, links=True)
            if not entry.name.isprintable():
                raise UnsafeError(f"holds a file with the name {shown(entry.name)}", "rename it")
            yield folder / entry.name
