"""LitServe with batching: one process answers HTTP, one runs the model."""

from typing import Any

import litserve
import numpy as np

from benchmarks.serving.peers.session import MOST_ROWS, PORT, WAIT_S, Model, rows_of


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - the name is LitServe's
        self.model = Model()

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        row: np.ndarray = rows_of(request)[0]
        return row

    def batch(self, inputs: list[np.ndarray]) -> np.ndarray:
        return np.stack(inputs)

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model(x)

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        return self.model.reply(output[None], output.tolist())


if __name__ == "__main__":
    api = Api(max_batch_size=MOST_ROWS, batch_timeout=WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False)
