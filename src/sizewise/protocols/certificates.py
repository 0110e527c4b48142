"""Certificate and key of a port: read, checked, and read again when the files change."""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from sizewise.protocols.errors import UsageError

log = logging.getLogger(__name__)

OTHERS_MAY = 0o007
"""Whoever reads the key can pass for this server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files: the certificate with its chain, and its private key."""

    cert: str
    key: str


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """TLS 1.2 and 1.3, HTTP/1.1. Raises UsageError naming the file that is wrong."""
    for kind, path in (("certificate", files.cert), ("key", files.key)):
        try:
            with Path(path).open("rb"):
                mode = Path(path).stat().st_mode
        except OSError as error:
            raise UsageError(f"TLS {kind} {path}: {error.strerror or error}: give a PEM file") from error
        if kind == "key" and mode & OTHERS_MAY:
            raise UsageError(f"TLS key {path} can be read by everybody (mode {mode & 0o777:o}): run chmod 600 {path}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _load(context, files)
    return context


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    def refuse() -> str:  # asked for when the key is encrypted; a server has nobody to ask
        raise UsageError(f"TLS key {files.key} has a passphrase: store it without one")

    try:
        context.load_cert_chain(files.cert, files.key, password=refuse)
    except ssl.SSLError as error:
        why = "they do not belong together" if "MISMATCH" in (error.reason or "") else "one of them is no such PEM file"
        raise UsageError(f"TLS certificate {files.cert} and key {files.key}: {why}") from error
    except OSError as error:
        raise UsageError(f"TLS certificate {files.cert}: {error.strerror or error}") from error


class Certificate:
    """A context for new connections; those that are open keep what they began with."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises UsageError."""
        self.files = files
        self._stamps = self._look()
        self.context = server_context(files)

    def refresh(self) -> bool:
        """Read the files again if one has changed; costs two stats. A pair that is wrong changes nothing."""
        stamps = self._look()
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            server_context(self.files)  # tried on its own: half of a new pair must not spoil what serves
            _load(self.context, self.files)
        except UsageError as error:
            log.warning("the certificate stays as it was: %s", error)
            return False
        log.info("certificate read again")
        return True

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for path in (self.files.cert, self.files.key):
            try:
                status = Path(path).stat()
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
            except OSError:
                found.append((0, 0, 0))
        return tuple(found)
