"""Which answer an address has: Open Inference Protocol v2, KServe v1, SageMaker, servers that users bring."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from sizewise.gateway.exchange import Exchange
from sizewise.gateway.head import BadHeadError, parse_timeout
from sizewise.gateway.metadata import Metadata
from sizewise.gateway.repository import Repository
from sizewise.protocols.frames import Encoding

if TYPE_CHECKING:
    from sizewise.gateway.gateway import Gateway
    from sizewise.gateway.model import Model

OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready", "/ping"})
"""Probes have no API key."""
READ, WRITE = frozenset({b"GET", b"HEAD"}), frozenset({b"POST"})

_V2_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(|/ready|/infer|/stats)")
_V1_MODEL = re.compile(r"/v1/models/([^/:]+)(|:predict)")
_REPOSITORY = re.compile(r"/v2/repository/models/([^/]+)/(load|unload)")
_COMMAND = re.compile(rb"/models/([^/?]+)(/[^?]*)?")

Action = Callable[[Exchange], None]


class NoSuchAddressError(Exception):
    """Status and text of the refusal."""

    def __init__(self, status: int, text: str, extra: bytes = b"") -> None:
        super().__init__(text)
        self.status, self.extra = status, extra


class Api:
    """Decides, from the head alone, what is done with a request that is not on a hot path."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        metadata, self._repository = Metadata(gateway), Repository(gateway)
        self._metadata = metadata
        self._fixed: dict[str, tuple[frozenset[bytes], Action]] = {
            "/": (READ, metadata.alive),
            "/v2": (READ, metadata.server),
            "/v2/": (READ, metadata.server),
            "/v2/health/live": (READ, metadata.live),
            "/v2/health/ready": (READ, metadata.ready),
            "/v2/models": (READ, metadata.models),
            "/v2/models/stats": (READ, metadata.all_statistics),
            "/v2/repository/index": (WRITE, self._repository.index),
            "/v1/models": (READ, metadata.models),
            "/ping": (READ, metadata.ping),
        }

    def plan(self, x: Exchange) -> None:
        """Set ``x.action``, or refuse."""
        facts = x.facts
        try:
            self._split(x)
            if facts.refusal is not None:
                x.last = True
                raise NoSuchAddressError(*facts.refusal)
            if facts.locked is not None and x.path not in OPEN_PATHS:
                raise NoSuchAddressError(*facts.locked)
            if facts.websocket or x.method == b"CONNECT":
                x.last = True
                raise NoSuchAddressError(501, "protocol upgrades and tunnels are not supported: use plain HTTP")
            if self._gateway.draining and x.path not in OPEN_PATHS:
                raise NoSuchAddressError(503, "the server is shutting down: try again", b"Retry-After: 1\r\n")
            self._find(x)
        except NoSuchAddressError as refused:
            x.refuse(refused.status, str(refused), refused.extra)
        except BadHeadError as bad:
            x.refuse(bad.status, str(bad))

    def _split(self, x: Exchange) -> None:
        """Path and query; of a target in absolute form, as proxies send it, the host is judged like ``Host``."""
        target = x.url
        scheme, mark, after = target.partition(b"://")
        if mark and scheme.lower() in {b"http", b"https"}:
            authority, slash, rest = after.partition(b"/")
            if not self._gateway.access.serves(authority):
                raise NoSuchAddressError(403, "this host is not served: use a loopback address or configure it")
            target = slash + rest or b"/"
        raw, _, x.query = target.partition(b"#")[0].partition(b"?")
        x.url = raw
        x.path = unquote(raw.decode("latin-1"), errors="replace")

    def _find(self, x: Exchange) -> None:
        fixed = self._fixed.get(x.path)
        if fixed is not None:
            allowed, action = fixed
            self._allow(x, allowed)
            x.action = action
            x.dropping = allowed is READ
        elif (match := _V2_MODEL.fullmatch(x.path)) is not None:
            self._v2_model(x, match)
        elif (match := _V1_MODEL.fullmatch(x.path)) is not None:
            self._v1_model(x, *match.groups())
        elif (match := _REPOSITORY.fullmatch(x.path)) is not None:
            self._allow(x, WRITE)
            x.action = partial(self._repository.change, self._model(match.group(1)), match.group(2))
        elif x.path == "/invocations":
            self._allow(x, WRITE)
            self._infer(x, self._target(x), Encoding.CSV if x.facts.content_type == b"text/csv" else Encoding.V1_JSON)
        elif (raw := _COMMAND.fullmatch(x.url)) is not None:
            self._pass_on(x, raw)
        else:
            raise NoSuchAddressError(404, f"nothing is at {_shown(x.path)}: models are at /v2/models")

    @staticmethod
    def _allow(x: Exchange, methods: frozenset[bytes]) -> None:
        if x.method not in methods:
            allowed = b", ".join(sorted(methods))
            text = f"{_shown(x.path)} takes {allowed.decode()} and not {x.method.decode('latin-1')}"
            raise NoSuchAddressError(405, text, b"Allow: %b\r\n" % allowed)

    def _model(self, name: str, version: str | None = None) -> Model:
        model = self._gateway.models.get(name)
        if model is None:
            raise NoSuchAddressError(404, f"model {_shown(name)} is not deployed: GET /v2/models lists those that are")
        if version is not None and version != model.route.version:
            have = model.route.version
            raise NoSuchAddressError(404, f"model {name!r} has version {have!r} and not {_shown(version)}")
        return model

    def _v2_model(self, x: Exchange, match: re.Match[str]) -> None:
        name, version, what = match.groups()
        self._allow(x, WRITE if what == "/infer" else READ)
        model = self._model(name, version)
        if what == "/infer":
            self._infer(x, model, Encoding.V2_JSON)
            return
        actions = {
            "": self._metadata.model,
            "/ready": self._metadata.model_ready,
            "/stats": self._metadata.statistics,
        }
        x.action = partial(actions[what], model)
        x.dropping = True

    def _v1_model(self, x: Exchange, name: str, what: str) -> None:
        self._allow(x, WRITE if what else READ)
        model = self._model(name)
        if what:
            self._infer(x, model, Encoding.V1_JSON)
        else:
            x.action = partial(self._metadata.model_ready, model)
            x.dropping = True

    def _target(self, x: Exchange) -> Model:
        """SageMaker names a model in a header; with a single one it need not."""
        models = self._gateway.models
        if x.facts.target_model:
            return self._model(x.facts.target_model)
        servable = [model for model in models.values() if model.route.runtime != "command"]
        if len(servable) == 1:
            return servable[0]
        text = f"{len(servable)} models are deployed: name one in the header X-Amzn-SageMaker-Target-Model"
        raise NoSuchAddressError(400, text)

    def _infer(self, x: Exchange, model: Model, encoding: Encoding) -> None:
        name, facts = model.name, x.facts
        if model.route.runtime == "command":
            text = f"model {name!r} is a server of its own, which speaks its own protocol: use /models/{name}/..."
            raise NoSuchAddressError(400, text)
        if facts.content_encoding:
            coding = facts.content_encoding.decode("latin-1")
            raise NoSuchAddressError(415, f"Content-Encoding {_shown(coding)} is not supported: send the body as it is")
        x.encoding = int(encoding)
        if facts.json_bytes is not None and encoding is Encoding.V2_JSON:
            self._binary(x, facts.json_bytes)
        self._set_timeout(x)
        x.model = model
        x.action = _submit

    @staticmethod
    def _binary(x: Exchange, json_bytes: int) -> None:
        length = x.facts.content_length
        if json_bytes == 0 or (length is not None and json_bytes > length):
            have = "an unknown number" if length is None else length
            text = (
                f"Inference-Header-Content-Length is {json_bytes} but the body has {have} bytes: send the JSON's length"
            )
            raise NoSuchAddressError(400, text)
        x.encoding, x.json_bytes = int(Encoding.V2_BINARY), json_bytes

    @staticmethod
    def _set_timeout(x: Exchange, *, query: bool = True) -> None:
        timeout_s = x.facts.timeout_s
        if timeout_s is None and query and x.query:
            given = dict(parse_qsl(x.query.decode("latin-1"))).get("timeout")
            timeout_s = None if given is None else parse_timeout(given.encode("latin-1", "replace"))
        x.timeout_s = timeout_s

    def _pass_on(self, x: Exchange, match: re.Match[bytes]) -> None:
        """A request for a server that the user brings: any method, any path."""
        model = self._model(unquote(match.group(1).decode("latin-1")))
        if model.route.runtime != "command":
            text = (
                f"model {model.name!r} answers at /v2/models/{model.name}/infer: only commands have paths of their own"
            )
            raise NoSuchAddressError(400, text)
        x.prefix = b"/models/" + match.group(1)
        x.forward = (match.group(2) or b"/") + (b"?" + x.query if x.query else b"")
        # Its query is the server's own business
        self._set_timeout(x, query=False)
        x.model = model
        x.action = _submit


def _submit(x: Exchange) -> None:
    """As the hot path does, with what only some requests have."""
    assert x.model is not None
    if x.json_bytes > x.body_bytes:
        text = f"Inference-Header-Content-Length is {x.json_bytes} but the body has {x.body_bytes} bytes"
        x.fail(400, f"{text}: send the JSON's length")
        return
    if x.timeout_s is not None:
        x.deadline_s = x.arrived_s + x.timeout_s
        x.own_deadline = True
    x.model.submit(x)


def _shown(text: str) -> str:
    """What a client sent, short enough for one line."""
    return repr(text if len(text) <= 80 else text[:80] + "...")
