"""Measured profiles in a folder, one file per content hash."""

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from sizewise.core.profiles import ModelProfile
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.serde import dumps, loads

FORMAT = 1
"""Raise when the figures change their meaning: profiles of another format are measured again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    format: int
    hash: str
    profile: ModelProfile


class ProfileStore:
    """``root`` is ``STATE/profiles``, or a cache folder of the user where there is no state directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, content_hash: str, *, machine: str | None = None) -> ModelProfile | None:
        """The profile of exactly these bytes, taken on ``machine`` if one is named; None when there is none.

        A file that cannot be read, or says something else than its name, counts as none: measuring again is cheap.
        """
        try:
            stored = loads(Stored, self.path(content_hash).read_bytes())
        except (OSError, ValueError):
            return None
        usable = stored.format == FORMAT and stored.hash == content_hash
        return stored.profile if usable and machine in {None, stored.profile.machine} else None

    def put(self, content_hash: str, profile: ModelProfile) -> Path:
        """Whole or not at all. Raises UnavailableError when the folder cannot be written."""
        path = self.path(content_hash)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_bytes(dumps(Stored(format=FORMAT, hash=content_hash, profile=profile)) + b"\n")
            temporary.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise UnavailableError(
                f"the profile cannot be kept in {self._root}: {error.strerror or error}: choose another --state-dir"
            ) from error
        return path

    @staticmethod
    def name(content_hash: str, form: str) -> str:
        """What the profile of a load-ready form is kept under, by the form's key; that of the model itself without."""
        return f"{content_hash}.{form}" if form else content_hash

    def path(self, content_hash: str) -> Path:
        return self._root / f"{content_hash}.json"
