"""BentoML with its adaptive batching. Its JSON is that of a typed function: nested lists in, nested lists out."""

import bentoml
import numpy as np

from benchmarks.serving.peers.session import MOST_ROWS, Model


@bentoml.service(workers=2)
class Service:
    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api(route="/predict", batchable=True, batch_dim=0, max_batch_size=MOST_ROWS)
    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return self.model(inputs)
