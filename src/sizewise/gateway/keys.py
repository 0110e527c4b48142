"""API keys of the data port: only their SHA-256 is kept, one per line, in a file that may change while we run."""

import hashlib
import hmac
import logging
import re
from pathlib import Path

log = logging.getLogger(__name__)

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")


class ApiKeys:
    """Without a file every request passes. A file that cannot be read lets none pass.

    A line holds a digest in hexadecimal, optionally after ``sha256:`` and before a comment. ``version`` counts
    changes, so that a verdict may be remembered for as long as it stands.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._digests: tuple[bytes, ...] = ()
        self.version = 0
        if path is not None:
            self._load(self._look())

    @property
    def required(self) -> bool:
        return self._path is not None

    def refresh(self) -> None:
        """Read the file again if it has changed; costs one stat."""
        if self._path is not None and (stamp := self._look()) != self._stamp:
            self._load(stamp)

    def accepts(self, key: bytes) -> bool:
        """Whether it is one of the keys, in a time that does not tell how nearly."""
        digest = hashlib.sha256(key).digest()
        found = False
        for known in self._digests:
            found |= hmac.compare_digest(known, digest)
        return found

    def _look(self) -> tuple[int, int, int] | None:
        assert self._path is not None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _load(self, stamp: tuple[int, int, int] | None) -> None:
        assert self._path is not None
        self._stamp = stamp
        self.version += 1
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            log.warning("API keys: %s: %s: every request is refused until it can be read", self._path, error.strerror)
            self._digests = ()
            return
        found = (_DIGEST.match(line.strip()) for line in lines)
        self._digests = tuple(bytes.fromhex(match.group(1)) for match in found if match)
