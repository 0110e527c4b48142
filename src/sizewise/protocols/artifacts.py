"""Where models' files are kept: immutable, and named by what is in them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

HASH_CHARS = 64
VERSION_CHARS = 12
"""A version is the beginning of its artifact's hash: 48 bits tell the versions of one model apart."""
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A model's files as they lie in a store."""

    hash: str
    path: Path
    """A read-only folder; its files have the names that were put."""
    disk_bytes: int

    @property
    def version(self) -> str:
        return self.hash[:VERSION_CHARS]


class ArtifactStore(Protocol):
    """Files that are read only, content-addressed, whole or absent. Calls block: callers use a thread.

    Putting the same names and contents twice gives the same artifact and stores it once. Errors that leave:
    DoesNotFitError and UnavailableError when there is no room, ModelFileError when a source file cannot be read, is
    no regular file or lies outside its folder. Whatever happens, nothing half done is ever visible.
    """

    def put(self, folder: Path, files: Sequence[str], *, model: str) -> Artifact:
        """Copy ``files``, relative to ``folder``. The hash is that of the copy, whatever the source does meanwhile."""
        ...

    def get(self, content_hash: str) -> Artifact | None: ...

    def remove(self, content_hash: str) -> None:
        """Removing what is not there is harmless."""
        ...

    def sizes(self) -> Mapping[str, int]:
        """Bytes on disk by hash, of everything stored."""
        ...


def file_digest(path: Path) -> str:
    """SHA-256 of a file's contents, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def combine_digests(digests: Iterable[tuple[str, str]]) -> str:
    """The hash of an artifact from (name, SHA-256 of the contents) of each of its files, in any order."""
    lines = sorted(f"{digest}  {name}\n" for name, digest in digests)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def content_hash(folder: Path, files: Sequence[str]) -> str:
    """The hash that a store gives these files: SHA-256 over names and contents."""
    return combine_digests((name, file_digest(folder / name)) for name in files)
