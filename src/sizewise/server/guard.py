"""Who may call the admin API. Loopback is no authentication: any web page can make a browser call it.

Three walls, before anything is parsed: the name in ``Host`` must be ours (no DNS rebinding), a browser must not come
from another site, and every path but ``/healthz`` needs the token. Bodies are bounded in size and time.
"""

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from sizewise.core.units import MIB, format_bytes

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 4 * MIB
BODY_TIMEOUT_S = 30.0
OPEN_PATHS = frozenset({"/healthz"})


class _RefusedError(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Guard:
    """ASGI middleware. ``allowed_hosts`` are names besides loopback ones that ``Host`` may carry."""

    def __init__(
        self, app: App, *, token: str, allowed_hosts: Iterable[str] = (), body_timeout_s: float = BODY_TIMEOUT_S
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._allowed_hosts = frozenset(host.lower() for host in allowed_hosts)
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            headers = _headers(scope)
            self._check_host(headers)
            _check_site(headers)
            if scope["path"] not in OPEN_PATHS:
                self._check_token(headers)
            body = await self._read(headers, receive)
        except _RefusedError as refused:
            await _answer(send, refused)
            return
        await self._app(scope, _replay(body, receive), send)

    def _check_host(self, headers: dict[str, str]) -> None:
        host = _host_name(headers.get("host", ""))
        if host in self._allowed_hosts or host == "localhost":
            return
        try:
            if ipaddress.ip_address(host).is_loopback:
                return
        except ValueError:
            pass
        raise _RefusedError(403, "this Host is not served: use a loopback address or add it to serving.allowed_hosts")

    def _check_token(self, headers: dict[str, str]) -> None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, self._token):
            raise _RefusedError(401, "send `Authorization: Bearer` with the token in STATE_DIR/admin-token")

    async def _read(self, headers: dict[str, str], receive: Receive) -> bytes:
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > MAX_BODY_BYTES:
            raise _RefusedError(413, f"the body is over the limit of {format_bytes(MAX_BODY_BYTES)}")
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_timeout_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _RefusedError(400, "the client has gone")
                    body += message.get("body", b"")
                    more = bool(message.get("more_body"))
                    if len(body) > MAX_BODY_BYTES:
                        raise _RefusedError(413, f"the body is over the limit of {format_bytes(MAX_BODY_BYTES)}")
        except TimeoutError as error:
            raise _RefusedError(408, f"the body did not arrive within {self._body_timeout_s:g} s") from error
        return bytes(body)


def _headers(scope: Scope) -> dict[str, str]:
    """Lower-case names. A name that decides about access may come once only."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in found and name in {"host", "origin", "authorization", "content-length", "sec-fetch-site"}:
            raise _RefusedError(400, f"header {name} is given twice")
        found[name] = raw_value.decode("latin-1")
    return found


def _host_name(authority: str) -> str:
    """The name in ``name:port``, without brackets; empty when malformed."""
    try:
        return (urlsplit(f"//{authority}").hostname or "").lower()
    except ValueError:
        return ""


def _check_site(headers: dict[str, str]) -> None:
    """Browsers name the page that makes them call; a program sends neither header.

    ``same-site`` is refused as well: another port of localhost is the same site and not the same program.
    """
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise _RefusedError(403, "requests from another site are refused")
    host = headers.get("host", "").lower()
    if headers.get("origin", f"http://{host}").lower() not in {f"http://{host}", f"https://{host}"}:
        raise _RefusedError(403, "requests from another origin are refused")


async def _answer(send: Send, refused: _RefusedError) -> None:
    body = orjson.dumps({"error": refused.text})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if refused.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    # What is left of a body that was not read must not be taken for the next request.
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then whatever the server has to say (a disconnect)."""
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
