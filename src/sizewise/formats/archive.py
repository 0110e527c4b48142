"""Zip archives that hold models: the directory is checked before a member is read, and members are read within limits.

Own reader rather than ``zipfile``: it works by position on a confined file, and refuses what unpackers disagree about
(two members of one name, members that overlap, sizes that differ between directory and member).
Source: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.4.
"""

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from sizewise.core.units import format_bytes
from sizewise.formats.confine import BytesSource, Source
from sizewise.formats.found import FormatError, UnsafeError, shown

MAX_MEMBERS = 200_000
MAX_RATIO = 1100
"""Deflate cannot do better than 1032 to 1."""
MAX_UNPACKED_BYTES = 64 * 1024**3
_DIRECTORY_MAX_BYTES = 64 * 1024**2

_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x2041
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    name: str
    size: int
    packed: int
    stored: bool
    at: int
    """Where its bytes begin in the archive."""


class Archive:
    """The members of a zip archive, by name. Raises FormatError or UnsafeError for one that is not sound."""

    def __init__(self, source: Source | BytesSource) -> None:
        self._source = source
        self.members: dict[str, Member] = {}
        count, size, at = _find_directory(source)
        if count > MAX_MEMBERS or size > _DIRECTORY_MAX_BYTES:
            raise FormatError(f"is an archive of {count} members, more than {MAX_MEMBERS}")
        for member in self._entries(source.read(at, size), count, at):
            if member.name in self.members:
                raise UnsafeError(f"is an archive with two members named {shown(member.name)}")
            self.members[member.name] = member
        self._check_totals()

    def read(self, name: str, most_bytes: int) -> bytes:
        """A whole member, unpacked, of at most ``most_bytes``."""
        member = self._member(name)
        if member.size > most_bytes:
            raise FormatError(
                f"has a member {shown(name)} of {format_bytes(member.size)}, more than {format_bytes(most_bytes)}"
            )
        return self.head(name, member.size)

    def head(self, name: str, count: int) -> bytes:
        """The first ``count`` bytes of a member, or all of it where it is shorter."""
        member = self._member(name)
        count = min(count, member.size)
        if member.stored:
            return self._source.read(member.at, count)
        unpacker, at, parts, have = zlib.decompressobj(-15), member.at, [], 0
        end = member.at + member.packed
        while have < count and at < end and not unpacker.eof:
            packed = self._source.read(at, min(65536, end - at))
            at += len(packed)
            parts.append(unpacker.decompress(packed, count - have))
            have += len(parts[-1])
            at -= len(unpacker.unconsumed_tail)
        if have < count:
            raise FormatError(f"has a member {shown(name)} that is shorter than declared")
        return b"".join(parts)

    def under(self, prefix: str) -> list[str]:
        return [name for name in self.members if name.startswith(prefix)]

    def _member(self, name: str) -> Member:
        if name not in self.members:
            raise FormatError(f"has no member {shown(name)}")
        return self.members[name]

    def _entries(self, directory: bytes, count: int, directory_at: int) -> Iterator[Member]:
        i = 0
        for _ in range(count):
            try:
                fields = _ENTRY.unpack_from(directory, i)
            except struct.error as error:
                raise FormatError("is an archive whose directory is cut off") from error
            if fields[0] != b"PK\x01\x02":
                raise FormatError("is an archive with a damaged directory")
            start = i + _ENTRY.size
            i = start + fields[10] + fields[11] + fields[12]
            name = directory[start : start + fields[10]]
            extra = directory[start + fields[10] : start + fields[10] + fields[11]]
            yield self._entry(fields, name=name.decode("utf-8", "replace"), extra=extra, directory_at=directory_at)

    def _entry(self, fields: tuple[int, ...], *, name: str, extra: bytes, directory_at: int) -> Member:
        flags, method = fields[3], fields[4]
        check_name(name)
        # Upper half of the external attributes: the file's mode, when a Unix system wrote the archive
        kind = stat.S_IFMT(fields[15] >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UnsafeError(f"is an archive whose member {shown(name)} is a link or a device")
        if flags & _ENCRYPTED:
            raise FormatError(f"is an archive whose member {shown(name)} is encrypted", "save it without a password")
        if method not in (_STORED, _DEFLATED):
            raise FormatError(f"packs its member {shown(name)} by method {method}", "save it stored or deflated")
        size, packed, at = _sizes64(extra, size=fields[9], packed=fields[8], at=fields[16])
        if method == _STORED and size != packed:
            raise FormatError(f"has a member {shown(name)} of {size} bytes in {packed}")
        if size > packed * MAX_RATIO + 1024:
            raise UnsafeError(f"has a member {shown(name)} that unpacks {packed} bytes into {format_bytes(size)}")
        data_at = self._data_at(name, at, directory_at)
        if data_at + packed > directory_at:
            raise FormatError(f"is cut off: its member {shown(name)} ends behind the data")
        return Member(name=name, size=size, packed=packed, stored=method == _STORED, at=data_at)

    def _data_at(self, name: str, at: int, directory_at: int) -> int:
        if at + _LOCAL.size > directory_at:
            raise FormatError(f"is cut off: its member {shown(name)} is missing")
        mark, *_, name_bytes, extra_bytes = _LOCAL.unpack(self._source.read(at, _LOCAL.size))
        start = at + _LOCAL.size
        if mark != b"PK\x03\x04":
            raise FormatError(f"has a damaged member {shown(name)}")
        if self._source.read(start, name_bytes).decode("utf-8", "replace") != name:
            raise UnsafeError(f"is an archive whose member {shown(name)} has another name inside")
        return start + int(name_bytes) + int(extra_bytes)

    def _check_totals(self) -> None:
        total = sum(member.size for member in self.members.values())
        if total > MAX_UNPACKED_BYTES:
            raise UnsafeError(f"is an archive that unpacks to {format_bytes(total)}")
        end = 0
        for member in sorted(self.members.values(), key=lambda each: each.at):
            if member.at < end:
                raise UnsafeError(f"is an archive whose member {shown(member.name)} overlaps another")
            end = member.at + member.packed


def check_name(name: str) -> None:
    """Raises UnsafeError for a member name that would leave the folder it is unpacked in."""
    parts = name.rstrip("/").split("/")
    if not name or name.startswith("/") or "\\" in name or not name.isprintable() or ".." in parts:
        raise UnsafeError(f"is an archive with a member named {shown(name)}, which would leave its folder")


def _find_directory(source: Source | BytesSource) -> tuple[int, int, int]:
    """Entries, bytes and position of the central directory."""
    if source.size < _END.size:
        raise FormatError("is cut off: too short for an archive")
    # A comment of up to 64 KiB may follow; models have none, and a second directory could hide in one
    at = source.size - _END.size
    fields = _END.unpack(source.read(at, _END.size))
    if fields[0] != b"PK\x05\x06":
        raise FormatError("is cut off: an archive without its directory", "copy it again, whole")
    count, size, start, end = fields[4], fields[5], fields[6], at
    large = _find_directory64(source, at)
    if large is not None:
        # PyTorch writes the large form always; where both have a figure, they must agree
        for short, full, none in zip(fields[4:7], large, (_FULL16, _FULL32, _FULL32), strict=False):
            if short not in (full, none):
                raise UnsafeError("is an archive with two directories")
        count, size, start, end = large
    elif _FULL16 in fields[1:5] or _FULL32 in fields[5:7]:
        raise FormatError("is an archive with a damaged directory", "copy it again, whole")
    if start + size != end:
        raise FormatError("is an archive with a damaged directory", "copy it again, whole")
    return count, size, start


def _find_directory64(source: Source | BytesSource, end_at: int) -> tuple[int, int, int, int] | None:
    """Entries, bytes, position and end of the directory from the records for large archives, where there are any."""
    locator_at = end_at - _END64_LOCATOR.size
    if locator_at < 0:
        return None
    mark, _, at, _ = _END64_LOCATOR.unpack(source.read(locator_at, _END64_LOCATOR.size))
    if mark != b"PK\x06\x07":
        return None
    if at + _END64.size > locator_at:
        raise FormatError("is an archive with a damaged directory")
    fields = _END64.unpack(source.read(at, _END64.size))
    if fields[0] != b"PK\x06\x06":
        raise FormatError("is an archive with a damaged directory")
    return fields[7], fields[8], fields[9], at


def _sizes64(extra: bytes, *, size: int, packed: int, at: int) -> tuple[int, int, int]:
    """Sizes of a large member stand in an extra field of their own, in this order, each only where it is needed."""
    values = [size, packed, at]
    if _FULL32 not in values:
        return size, packed, at
    i = 0
    while i + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, i)
        if kind == 1:
            large = iter(struct.unpack_from(f"<{min(length, len(extra) - i - 4) // 8}Q", extra, i + 4))
            try:
                size, packed, at = (next(large) if value == _FULL32 else value for value in values)
            except (StopIteration, RuntimeError) as error:
                raise FormatError("is an archive with damaged sizes") from error
            return size, packed, at
        i += 4 + length
    return size, packed, at
