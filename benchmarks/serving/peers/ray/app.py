"""Ray Serve: a proxy (its own, or HAProxy) in front of one replica, which may have 100 requests at once.

Its default of 5 backs off so much under many connections that it would not be a measurement of anything else.
"""

from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.serving.peers.session import PORT, Model, rows_of


class Predict:
    def __init__(self) -> None:
        self.model = Model()

    async def __call__(self, request: Request) -> dict[str, Any]:
        y = self.model(rows_of(await request.json()))
        return self.model.reply(y, y.ravel().tolist())


if __name__ == "__main__":
    ray.init(address="local", log_to_driver=False, include_dashboard=False)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    deployment = serve.deployment(num_replicas=1, max_ongoing_requests=100)(Predict)
    serve.run(deployment.bind(), blocking=True)
