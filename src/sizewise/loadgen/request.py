"""Requests as bytes, made before the run, and where they go."""

import itertools
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sizewise.protocols.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One address and the requests that it gets in turn."""

    url: str
    host: str
    port: int
    tls: ssl.SSLContext | None
    bodies: tuple[Body, ...]
    headers: Mapping[str, str]
    requests: tuple[bytes, ...]
    """One for each body, or the one without."""

    def source(self) -> Callable[[], bytes]:
        return itertools.cycle(self.requests).__next__


def target_of(url: str, bodies: Sequence[Body] = (), *, headers: Mapping[str, str] | None = None) -> Target:
    """POST of each body in turn; GET without any. Raises UsageError."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url}: {error}: give an address such as http://127.0.0.1:8080/path") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or any(c.isspace() for c in url):
        raise UsageError(f"{url}: is not an address: give one such as http://127.0.0.1:8080/path")
    secure = parts.scheme == "https"
    address = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    made = [_message(address, host, body=body, headers=headers or {}) for body in bodies or (None,)]
    return Target(
        url=url,
        host=parts.hostname,
        port=port or (443 if secure else 80),
        tls=ssl.create_default_context() if secure else None,
        bodies=tuple(bodies),
        headers=dict(headers or {}),
        requests=tuple(made),
    )


def _message(address: str, host: str, *, body: Body | None, headers: Mapping[str, str]) -> bytes:
    fields = {"Host": host, "User-Agent": "sizewise-bench", "Accept": "*/*"}
    if body is not None:
        fields |= {**body.headers, "Content-Length": str(len(body.content))}
    fields |= headers
    for name, value in fields.items():
        if not name.isascii() or not value.isascii() or {"\r", "\n"} & {*name, *value}:
            raise UsageError(f"header {name!r}: may hold ASCII on one line only")
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    start = f"{'GET' if body is None else 'POST'} {address} HTTP/1.1\r\n"
    try:
        return (start + head + "\r\n").encode("ascii") + (b"" if body is None else body.content)
    except UnicodeEncodeError as error:
        raise UsageError(f"{address}: is not ASCII: write other characters as %XX") from error
