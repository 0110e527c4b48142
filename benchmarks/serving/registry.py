"""Who is measured, how each is started, and what can be said for it.

Every peer has as many processes that handle requests as Sizewise has (gateway and replica: two), one ONNX Runtime
session on one thread in each that runs the model, no access log, and dynamic batching where it offers any. Lean FastAPI
is measured with one worker as well, as one would start it.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.bodies import Body
from benchmarks.serving.environments import Environment

_PACKAGE = "benchmarks.serving.peers"
_HAPROXY = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_HA_PROXY": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    folder: str | None
    """Below peers/; None is Sizewise itself, in the environment of this program."""
    command: tuple[str, ...]
    """After the interpreter; {port} and {spec} are filled in."""
    path: str
    processes: str
    good_for: str
    form: str = "v2"
    binary: bool = False
    """Whether it takes binary tensors as well."""
    env: Mapping[str, str] = field(default_factory=dict)
    system_python: bool = False
    bound: bool = False
    """What could be, not what one would run."""

    def form_of(self, body: Body) -> str | None:
        """Which of the body's forms it is sent, or None when it takes none of them."""
        wanted = "binary" if "binary" in body.forms else self.form
        return None if wanted == "binary" and not self.binary else wanted

    def path_of(self, body: Body) -> str:
        return self.path.format(model=body.model.stem)


def _module(folder: str) -> tuple[str, ...]:
    return ("-m", f"{_PACKAGE}.{folder}.app")


_UVICORN = ("-m", "uvicorn", f"{_PACKAGE}.fastapi.app:app", "--port", "{port}", "--no-access-log")
_ONE, _TWO = (("--log-level", "error", "--workers", workers) for workers in "12")

PEERS: dict[str, Peer] = {
    "sizewise": Peer(
        folder=None,
        command=("-m", "sizewise", "up", "{spec}", "--state-dir", "state"),
        path="/v2/models/{model}/infer",
        binary=True,
        processes="gateway and replica, batching",
        good_for="many models of any size on one machine, each scaled by what it weighs",
    ),
    "inline": Peer(
        folder="inline",
        command=_module("inline"),
        path="/",
        processes="one process, in line",
        good_for="a bound: what is left of a Python process that only parses, runs and answers",
        bound=True,
    ),
    "fastapi-lean": Peer(
        folder="fastapi",
        command=(*_UVICORN, *_TWO),
        path="/lean",
        processes="2 workers",
        good_for="one model inside an application of your own, written with speed in mind: orjson, no validation",
    ),
    "fastapi-lean-1": Peer(
        folder="fastapi",
        command=(*_UVICORN, *_ONE),
        path="/lean",
        processes="1 worker",
        good_for="the same where a second copy of the model is not to be had: one process that does everything",
    ),
    "fastapi": Peer(
        folder="fastapi",
        command=(*_UVICORN, *_TWO),
        path="/ordinary",
        processes="2 workers",
        good_for="one model inside an application of your own, as its tutorial shows it: pydantic, a plain function",
    ),
    "flask": Peer(
        folder="flask",
        command=("-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:{port}", f"{_PACKAGE}.flask.app:app"),
        path="/predict",
        processes="2 gunicorn workers",
        good_for="the smallest dependable server there is; each worker holds a model of its own",
    ),
    "bentoml": Peer(
        folder="bentoml",
        command=(
            "-m",
            "bentoml",
            "serve",
            f"{_PACKAGE}.bentoml.app:Service",
            "--host",
            "127.0.0.1",
            "--port",
            "{port}",
        ),
        path="/predict",
        form="nested",
        env={"BENTOML_DO_NOT_TRACK": "True"},
        processes="2 workers, adaptive batching",
        good_for="packaging a model with its code and environment, pipelines of services, its cloud",
    ),
    "litserve": Peer(
        folder="litserve",
        command=_module("litserve"),
        path="/predict",
        processes="HTTP and one worker, batching",
        good_for="a few hooks around any model, GPU workers and streaming",
    ),
    "mlserver": Peer(
        folder="mlserver",
        command=_module("mlserver"),
        path="/v2/models/m/infer",
        binary=False,
        processes="HTTP and one worker, adaptive batching",
        good_for="the Open Inference Protocol with ready runtimes, in Seldon Core and KServe",
    ),
    "kserve": Peer(
        folder="kserve",
        command=(*_module("kserve"), "--http_port", "{port}", "--enable_grpc", "false", "--workers", "2"),
        path="/v2/models/m/infer",
        binary=True,
        processes="2 workers",
        good_for="models on Kubernetes: its controllers, autoscaling and canaries, which are not measured here",
    ),
    "pytriton": Peer(
        folder="pytriton",
        command=_module("pytriton"),
        path="/v2/models/m/infer",
        binary=True,
        system_python=True,
        processes="Triton and one Python process, batching",
        good_for="Triton's batching, gRPC and metrics around Python code, mostly on GPUs",
    ),
    "ray": Peer(
        folder="ray",
        command=_module("ray"),
        path="/",
        env={"RAY_USAGE_STATS_ENABLED": "0"},
        processes="proxy and one replica, of 20 processes",
        good_for="applications of many models over many machines, beside training and data on the same cluster",
    ),
    "ray-haproxy": Peer(
        folder="ray",
        command=_module("ray"),
        path="/",
        env={"RAY_USAGE_STATS_ENABLED": "0", **_HAPROXY},
        processes="HAProxy and one replica, of 20 processes",
        good_for="the same with its faster way in",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """All that a process needs to be started."""

    command: list[str]
    env: dict[str, str]


def start_of(peer: Peer, environment: Environment, body: Body, *, port: int, folder: Path) -> Start:
    """Writes the spec of Sizewise into ``folder``, which is where the server will run."""
    scaling = {"min_replicas": 1, "max_replicas": 1}
    serving = {"port": port, "admin_port": port + 1}
    spec = folder / "sizewise.yaml"
    models = {body.model.stem: {"uri": str(body.model), "scaling": scaling}}
    spec.write_text(json.dumps({"project": "bench", "models": models, "serving": serving}))
    words = [word.format(port=port, spec=spec) for word in peer.command]
    env = {"MODEL": str(body.model), "PORT": str(port), **peer.env}
    return Start(command=[str(environment.python if peer.folder else sys.executable), *words], env=env)
