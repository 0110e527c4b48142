"""MLServer with adaptive batching: one process answers HTTP, one runs the model (its default)."""

import json
import os
import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.serving.peers.session import MOST_ROWS, PORT, WAIT_S, Model


class OnnxModel(MLModel):
    async def load(self) -> bool:
        self.model = Model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        y = self.model(NumpyCodec.decode_input(payload.inputs[0]))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("y", y)])


if __name__ == "__main__":
    settings = {"host": "127.0.0.1", "http_port": PORT, "grpc_port": PORT + 1, "metrics_port": PORT + 2}
    model = {"name": "m", "implementation": f"{__spec__.name}.OnnxModel", "max_batch_size": MOST_ROWS}
    Path("settings.json").write_text(json.dumps({**settings, "parallel_workers": 1}))
    Path("model-settings.json").write_text(json.dumps({**model, "max_batch_time": WAIT_S, "parameters": {"uri": "."}}))
    command = Path(sys.executable).with_name("mlserver")
    os.execv(command, [str(command), "start", "."])
