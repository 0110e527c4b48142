"""What ``up`` says once it serves: what changed, where it is, what to type next."""

import json
import shlex
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from sizewise.cli.options import DEFAULT_STATE_DIR
from sizewise.core.units import format_bytes

if TYPE_CHECKING:
    from sizewise.controller.spec import Spec

Answer = Mapping[str, Any]
_SIGNS = {"added": "+", "changed": "~", "removed": "-", "kept": "="}
_WORDS = {"kept": " (deployed by hand; --prune removes it)", "changed": " (changed)"}
MOST_ELEMENTS = 32
"""Of an example request; a longer one is no example."""
MOST_ASKED = 10
PUBLISHED_S = 3.0
"""A new model is unknown to the gateway until the controller's next look."""


def difference_lines(difference: Answer) -> list[str]:
    lines = [f"  {_SIGNS[kind]} {name}{_WORDS.get(kind, '')}" for kind in _SIGNS for name in difference.get(kind, ())]
    if difference["unchanged"]:
        lines.append(f"  {len(difference['unchanged'])} unchanged")
    return lines


def started_lines(started: Answer, state_dir: Path) -> list[str]:
    """``started`` is what ``detached`` passes on and ``foreground`` makes: URLs, difference, names of models."""
    lines = []
    if started["adopted"]:
        lines.append("what ran before goes on")
    lines += difference_lines(started["difference"]) if started["difference"] is not None else []
    lines.append(f"clients   {started['data_url']}")
    if started["grpc_address"]:
        lines.append(f"grpc      {started['grpc_address']}")
    lines += [f"admin     {started['admin_url']}", "next:"]
    return lines + [f"  {command}" for command in _next(started, state_dir)]


def _next(started: Answer, state_dir: Path) -> list[str]:
    is_default = state_dir.absolute() == DEFAULT_STATE_DIR.absolute()
    where = "" if is_default else f" --state-dir {shlex.quote(str(state_dir))}"
    names = started["models"]
    if not names:
        return [f"sizewise deploy NAME FILE{where}", f"sizewise status{where}", f"sizewise down{where}"]
    return [
        example_request(started["data_url"], names, cert=started["tls_cert"]),
        f"sizewise status{where}",
        f"sizewise explain {names[0]}{where}",
    ]


def example_request(data_url: str, names: Sequence[str], *, cert: str | None = None) -> str:
    """A request that one of the models answers, where its inputs are few; else the one that shows its inputs."""
    context = None if cert is None else _trusting(cert)
    curl = "curl -s" if cert is None else f"curl -s --cacert {shlex.quote(cert)}"
    ends_s = time.monotonic() + PUBLISHED_S
    for name in names[:MOST_ASKED]:
        url = f"{data_url}/v2/models/{name}"
        inputs = _inputs(url, ends_s, context)
        if inputs and all(len(tensor["data"]) <= MOST_ELEMENTS for tensor in inputs):
            return f"{curl} {url}/infer -d {shlex.quote(json.dumps({'inputs': inputs}))}"
    return f"{curl} {data_url}/v2/models/{names[0]}"


def _trusting(cert: str) -> ssl.SSLContext | None:
    """For asking ourselves: the certificate is ours, whatever name is in it."""
    try:
        context = ssl.create_default_context(cafile=cert)
    except (OSError, ssl.SSLError):
        return None
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # trusted without its authority
    return context


def _inputs(url: str, ends_s: float, context: ssl.SSLContext | None) -> list[dict[str, Any]]:
    """Example tensors from the model's metadata; none where it tells of none or asks for a key."""
    while True:
        try:
            with urlopen(url, timeout=2, context=context) as answer:  # noqa: S310 - our own address
                return [_example(tensor) for tensor in json.load(answer)["inputs"]]
        except HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND or time.monotonic() >= ends_s:
                return []
            time.sleep(0.05)
        except (OSError, ValueError, KeyError, TypeError):
            return []


def _example(tensor: Answer) -> dict[str, Any]:
    shape = [1 if size < 0 else size for size in tensor["shape"]]
    count = 1
    for size in shape:
        count *= size
    value = {"BYTES": "0", "BOOL": False}.get(tensor["datatype"], 0)
    data = [value] * min(count, MOST_ELEMENTS + 1)
    return {"name": tensor["name"], "shape": shape, "datatype": tensor["datatype"], "data": data}


def staying_lines(spec: "Spec", status: Answer) -> list[str]:
    """What a spec asks for that a running system cannot change: its budget and its addresses.

    A port that is the default may be nobody's wish: it is not compared.
    """
    from sizewise.controller.spec import ServingSpec

    machine, serving, usual, runs = spec.machine, spec.serving, ServingSpec(), status["machine"]
    port = None if serving.port in (0, usual.port) else serving.port
    admin_port = None if serving.admin_port in (0, usual.admin_port) else serving.admin_port
    asked: tuple[tuple[str, float | None, float | None, Callable[[float], str]], ...] = (
        ("machine.cpus", machine.cpus, runs["cpus"], "{:g}".format),
        ("machine.memory", machine.memory_bytes, runs["memory_bytes"], format_bytes),
        ("machine.disk", machine.disk_bytes, runs["disk_bytes"], format_bytes),
        ("serving.port", port, urlsplit(status["data_url"]).port, "{:g}".format),
        ("serving.admin_port", admin_port, urlsplit(status["admin_url"]).port, "{:g}".format),
    )
    return [
        f"{key} stays {show(have)} instead of {show(want)}: run sizewise down, then sizewise up"
        for key, want, have, show in asked
        if want is not None and have is not None and want != have
    ]
