"""PyTriton: Triton answers HTTP and batches, a Python process runs the model."""

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from benchmarks.serving.peers.session import MOST_ROWS, PORT, WAIT_S, Model

model = Model()


@batch
def infer(x: np.ndarray) -> dict[str, np.ndarray]:
    return {"y": model(x)}


ports = {"http_port": PORT, "grpc_port": PORT + 1, "metrics_port": PORT + 2}
batcher = DynamicBatcher(max_queue_delay_microseconds=round(WAIT_S * 1e6))
with Triton(config=TritonConfig(http_address="127.0.0.1", grpc_address="127.0.0.1", **ports)) as triton:
    triton.bind(
        model_name="m",
        infer_func=infer,
        inputs=[Tensor(name="x", dtype=model.dtype.type, shape=model.row_shape)],
        outputs=[Tensor(name="y", dtype=np.float32, shape=(-1,))],
        config=ModelConfig(max_batch_size=MOST_ROWS, batcher=batcher),
    )
    triton.serve()
