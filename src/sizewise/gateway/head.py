"""What a request's headers say, judged once: clients repeat them, so a connection keeps the last verdict."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sizewise.gateway.keys import ApiKeys
from sizewise.gateway.limits import Limits

_SINGLE = frozenset(
    {
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"authorization",
        b"x-api-key",
        b"expect",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"inference-header-content-length",
        b"transfer-encoding",
        b"x-request-timeout",
        b"x-amzn-sagemaker-target-model",
    }
)
"""Headers that decide something may come once: two programs that read two of them differently can be played off."""
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|::1")
_AUTHORITY = re.compile(rb"(?:\[([0-9a-fA-F:.]+)\]|([^\s:@/\[\]?#,]+))(?::[0-9]{1,5})?")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_NUMBER = re.compile(rb"[0-9]{1,9}(?:\.[0-9]{0,9})?")
MAX_TIMEOUT_S = 24 * 3600.0

Header = tuple[bytes, bytes]
Refusal = tuple[int, str, bytes]
"""Status, text, and header lines that belong to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A head without its request line."""

    refusal: Refusal | None = None
    locked: Refusal | None = None
    """Set when no valid API key came; a few paths are open all the same."""
    plain: bool = False
    """Nothing below differs from its default, and nothing is refused."""
    content_length: int | None = None
    chunked: bool = False
    expects: bool = False
    json_bytes: int | None = None
    timeout_s: float | None = None
    target_model: str = ""
    content_type: bytes = b""
    content_encoding: bytes = b""
    websocket: bool = False
    upgrade: bool = False
    """Asks for another protocol, which is not heard."""
    key_header: bytes = b""
    """The header that held our API key: not the business of a server behind us."""
    keys_version: int = 0


class BadHeadError(Exception):
    """A header that cannot be accepted, with the status that says so."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call: names that ``Host`` may carry besides loopback ones (``*`` for any), and API keys."""

    keys: ApiKeys
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, keys: ApiKeys, hosts: Iterable[str]) -> "Access":
        return cls(keys, frozenset(host.lower().rstrip(".") for host in hosts))

    def serves(self, authority: bytes) -> bool:
        match = _AUTHORITY.fullmatch(authority)
        if match is None:
            return False
        name = (match.group(1) or match.group(2)).decode("latin-1").lower().rstrip(".")
        return _LOOPBACK.fullmatch(name) is not None or name in self.hosts or "*" in self.hosts


def judge(headers: Sequence[Header], *, http_11: bool, access: Access, limits: Limits) -> Facts:
    """Everything the headers decide. Framing itself (smuggling, sizes) was judged by the parser before."""
    try:
        known = _known(headers, limits)
        _check_site(known, http_11=http_11, access=access)
        return _facts(known, http_11=http_11, access=access)
    except BadHeadError as bad:
        # Whoever waits to be told that the body may come is told at once that it may not
        waits = http_11 and any(name.lower() == b"expect" for name, _ in headers)
        return Facts(refusal=(bad.status, str(bad), b""), chunked=True, expects=waits)


def _known(headers: Sequence[Header], limits: Limits) -> dict[bytes, bytes]:
    if len(headers) > limits.headers:
        raise BadHeadError(431, f"{len(headers)} headers are over the limit of {limits.headers}")
    found: dict[bytes, bytes] = {}
    for raw, value in headers:
        name = raw.lower()
        if name in found and name in _SINGLE:
            raise BadHeadError(400, f"header {name.decode('latin-1')} is given twice: send it once")
        found[name] = value.strip()
    return found


def _check_site(known: dict[bytes, bytes], *, http_11: bool, access: Access) -> None:
    """Loopback is no authentication: a web page can make a browser call it, or rename itself to it."""
    host = known.get(b"host")
    if host is None:
        if http_11:
            raise BadHeadError(400, "header Host is missing")
    elif not access.serves(host):
        raise BadHeadError(403, "this Host is not served: use a loopback address or add it to serving.allowed_hosts")
    if known.get(b"sec-fetch-site", b"none") not in {b"none", b"same-origin"}:
        raise BadHeadError(403, "requests from another site are refused")
    origin = known.get(b"origin")
    if origin is not None and origin.lower().partition(b"://")[2] != (host or b"").lower():
        raise BadHeadError(403, "requests from another origin are refused")


def _facts(known: dict[bytes, bytes], *, http_11: bool, access: Access) -> Facts:
    key_header, locked = _check_key(known, access.keys)
    json_bytes = _whole(known, b"inference-header-content-length")
    timeout_s = parse_timeout(known[b"x-request-timeout"]) if b"x-request-timeout" in known else None
    expects = _expects(known, http_11=http_11)
    encoding = known.get(b"content-encoding", b"").lower()
    encoding = b"" if encoding == b"identity" else encoding
    special = locked is not None or json_bytes is not None or timeout_s is not None or expects or bool(encoding)
    upgrade = known.get(b"upgrade", b"").lower()
    return Facts(
        locked=locked,
        plain=not (special or upgrade),
        content_length=_whole(known, b"content-length"),
        chunked=_chunked(known, http_11=http_11),
        expects=expects,
        json_bytes=json_bytes,
        timeout_s=timeout_s,
        target_model=known.get(b"x-amzn-sagemaker-target-model", b"").decode("latin-1"),
        content_type=known.get(b"content-type", b"").partition(b";")[0].strip().lower(),
        content_encoding=encoding,
        websocket=b"websocket" in upgrade,
        upgrade=bool(upgrade),
        key_header=key_header,
        keys_version=access.keys.version,
    )


def _check_key(known: dict[bytes, bytes], keys: ApiKeys) -> tuple[bytes, Refusal | None]:
    if not keys.required:
        return b"", None
    scheme, _, bearer = known.get(b"authorization", b"").partition(b" ")
    for header, key in ((b"authorization", bearer.strip()), (b"x-api-key", known.get(b"x-api-key", b""))):
        if header == b"authorization" and scheme.lower() != b"bearer":
            continue
        if key and keys.accepts(key):
            return header, None
    return b"", (
        401,
        "send a valid API key as `Authorization: Bearer KEY` or `X-API-Key`",
        b"WWW-Authenticate: Bearer\r\n",
    )


def _chunked(known: dict[bytes, bytes], *, http_11: bool) -> bool:
    coding = known.get(b"transfer-encoding")
    if coding is None:
        return False
    if not http_11:
        raise BadHeadError(400, "Transfer-Encoding does not exist in HTTP/1.0")
    if coding.lower() != b"chunked":
        raise BadHeadError(501, "only the transfer coding `chunked` is supported")
    return True


def _expects(known: dict[bytes, bytes], *, http_11: bool) -> bool:
    expectation = known.get(b"expect")
    # HTTP/1.0 has no interim answers: the header means nothing there
    if expectation is None or not http_11:
        return False
    if expectation.lower() != b"100-continue":
        raise BadHeadError(417, "only `Expect: 100-continue` is supported")
    return True


def _whole(known: dict[bytes, bytes], name: bytes) -> int | None:
    value = known.get(name)
    if value is None:
        return None
    if _DIGITS.fullmatch(value) is None:
        raise BadHeadError(400, f"header {name.decode()} must be a whole number of bytes")
    return int(value)


def parse_timeout(value: bytes) -> float:
    """Seconds that a client gives its request. Raises ``BadHeadError`` unless 0 < seconds <= a day."""
    seconds = float(value) if _NUMBER.fullmatch(value) else math.nan
    if not 0.0 < seconds <= MAX_TIMEOUT_S:
        raise BadHeadError(400, f"timeout must be a number of seconds above 0 and at most {MAX_TIMEOUT_S:g}")
    return seconds
