"""Putting load on a model of a running system, or on any address."""

import ssl
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sizewise.api.client import Client, connect
from sizewise.core.slo import Slo
from sizewise.core.tensors import TensorSpec
from sizewise.loadgen import bench as loadgen
from sizewise.loadgen.bench import BenchOptions, BenchReport, OnProgress
from sizewise.loadgen.bodies import bodies_of, body_from
from sizewise.loadgen.request import Body, Target, target_of
from sizewise.protocols.errors import UnavailableError, UsageError

FIRST_TIMEOUT_S = 120.0
"""For the first answer: a large model that sleeps is loaded meanwhile."""
_SHOWN = 200


def bench(
    target: str,
    options: BenchOptions | None = None,
    *,
    state_dir: str | Path | None = None,
    url: str | None = None,
    token: str | None = None,
    on_progress: OnProgress = lambda _name, _share: None,
) -> BenchReport:
    """Load on ``target``: an address with a scheme, or a model of the system that ``connect`` finds.

    Runs an event loop of its own. Raises UsageError, NotFoundError, AdminError and UnavailableError.
    """
    import uvloop

    options = loadgen.checked(options or BenchOptions())
    if "://" in target:
        bodies = () if options.body is None else (body_from(options.body),)
        found = target_of(target, bodies, headers=options.headers)
    else:
        with connect(state_dir=state_dir, url=url, token=token) as client:
            found, slo = _model(client, target, options)
        options = replace(options, slo=options.slo or slo)
    first_answer_s = _first(found)
    levels = uvloop.run(loadgen.bench(found, options, on_progress))
    size = max((len(body.content) for body in found.bodies), default=0)
    return BenchReport(url=found.url, slo=options.slo, body_bytes=size, first_answer_s=first_answer_s, levels=levels)


def _model(client: Client, name: str, options: BenchOptions) -> tuple[Target, Slo | None]:
    """Where the model is asked, with bodies of the kind that it takes, and its goal."""
    known = client.model(name)
    base = f"{client.status()['data_url']}/v2/models/{quote(known['name'], safe='')}"
    if options.body is not None:
        bodies: Sequence[Body] = [body_from(options.body)]
    else:
        bodies = bodies_of(_inputs(base, options), rows=options.rows, binary=options.binary, seed=options.seed)
    slo = Slo(**known["slo"]) if known["slo"] else None
    return target_of(f"{base}/infer", bodies, headers=options.headers), slo


def _inputs(url: str, options: BenchOptions) -> list[TensorSpec]:
    found = _asked("GET", url, None, headers=options.headers)[0]
    try:
        inputs: list[dict[str, Any]] = found.json()["inputs"]
        return [TensorSpec(name=i["name"], datatype=i["datatype"], shape=tuple(i["shape"])) for i in inputs]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{url} does not describe a model: give its own address, and a request with --body") from error


def _first(target: Target) -> float:
    """Seconds of one request. Raises UnavailableError when its answer is an error: a thousand more would be too."""
    body = target.bodies[0] if target.bodies else None
    return _asked("GET" if body is None else "POST", target.url, body, headers=dict(target.headers))[1]


def _asked(method: str, url: str, body: Body | None, *, headers: Any) -> tuple[Any, float]:
    import httpx

    content, own = (None, {}) if body is None else (body.content, dict(body.headers))
    try:
        verify = ssl.create_default_context() if url.startswith("https:") else False  # as the load itself will
        with httpx.Client(timeout=FIRST_TIMEOUT_S, trust_env=False, verify=verify) as client:
            began_s = time.monotonic()
            answer = client.request(method, url, content=content, headers={**own, **headers})
            took_s = time.monotonic() - began_s
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnavailableError(f"nothing answers at {url} ({str(error) or type(error).__name__})") from error
    if answer.is_error:
        said = answer.text[:_SHOWN].strip()
        raise UnavailableError(f"{url} answered {answer.status_code}: {said or 'nothing else'}")
    return answer, took_s
