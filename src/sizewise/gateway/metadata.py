"""What the server and its models say about themselves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sizewise.core.version import VERSION
from sizewise.gateway.exchange import Exchange

if TYPE_CHECKING:
    from sizewise.core.tensors import TensorSpec
    from sizewise.gateway.gateway import Gateway
    from sizewise.gateway.model import Model

EXTENSIONS = ["binary_tensor_data", "model_repository", "statistics"]


class Metadata:
    """Answers that need no replica."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def server(self, x: Exchange) -> None:
        x.reply({"name": self._gateway.config.server_name, "version": VERSION, "extensions": EXTENSIONS})

    def alive(self, x: Exchange) -> None:
        """As KServe v1 says it at the root."""
        x.reply({"status": "alive"})

    def live(self, x: Exchange) -> None:
        x.reply({"live": True})

    def ready(self, x: Exchange) -> None:
        """Whether we can accept: models wake by themselves."""
        if self._gateway.draining:
            x.fail(503, "the server is shutting down: try another one")
        else:
            x.reply({"ready": True})

    def ping(self, x: Exchange) -> None:
        if self._gateway.draining:
            x.fail(503, "the server is shutting down: try another one")
        else:
            x.answer(200, b"")

    def models(self, x: Exchange) -> None:
        x.reply({"models": sorted(self._gateway.models)})

    def model(self, model: Model, x: Exchange) -> None:
        route = model.route
        x.reply(
            {
                "name": model.name,
                "versions": [route.version],
                "platform": route.platform,
                "inputs": [_tensor(spec) for spec in route.inputs],
                "outputs": [_tensor(spec) for spec in route.outputs],
            }
        )

    def model_ready(self, model: Model, x: Exchange) -> None:
        """A cold model that can be woken is ready: scale to zero must not fail a probe."""
        if model.route.refuse is not None and not model.routing.slots:
            x.fail(503, model.route.refuse)
        else:
            x.reply({"name": model.name, "ready": True})

    def statistics(self, model: Model, x: Exchange) -> None:
        x.reply({"model_stats": [_statistics(model)]})

    def all_statistics(self, x: Exchange) -> None:
        x.reply({"model_stats": [_statistics(model) for _, model in sorted(self._gateway.models.items())]})


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _statistics(model: Model) -> dict[str, Any]:
    """Triton's statistics extension, as far as a gateway knows: nanoseconds are sums over requests, also where several
    shared a call."""
    traffic = model.traffic
    last_ms = 0
    if traffic.last_arrival_s is not None:
        last_ms = round((time.time() - time.monotonic() + traffic.last_arrival_s) * 1000)
    waited_s = max(0.0, traffic.answer_s - traffic.compute_s)
    return {
        "name": model.name,
        "version": model.route.version,
        "last_inference": last_ms,
        "inference_count": traffic.rows,
        "execution_count": traffic.batches,
        "inference_stats": {
            "success": _figure(traffic.answered, traffic.answer_s),
            "fail": _figure(traffic.errors + traffic.client_errors, 0.0),
            "queue": _figure(traffic.answered, waited_s),
            "compute_input": _figure(0, 0.0),
            "compute_infer": _figure(traffic.answered, traffic.compute_s),
            "compute_output": _figure(0, 0.0),
        },
        "batch_stats": [],
    }


def _figure(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}
