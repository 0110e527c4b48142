"""What all peers share: the model file as one ONNX Runtime session on one thread, and tensors of the v2 protocol.

Runs in the environment of each peer, so it needs NumPy and ONNX Runtime only.
"""

import os
from typing import Any

import numpy as np
import onnxruntime as ort

PORT = int(os.environ.get("PORT", "8000"))
MOST_ROWS = 32
WAIT_S = 0.002
"""Rows and time that peers with dynamic batching may gather."""
_OF_RUNTIME = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8}
_OF_PROTOCOL = {"FP32": np.float32, "INT64": np.int64, "UINT8": np.uint8}


class Model:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
        tensor = self._session.get_inputs()[0]
        self.input_name: str = tensor.name
        self.output_name: str = self._session.get_outputs()[0].name
        self.dtype = np.dtype(_OF_RUNTIME[tensor.type])
        self.row_shape = tuple(tensor.shape[1:])

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        feeds = {self.input_name: np.ascontiguousarray(rows, self.dtype)}
        result: np.ndarray = self._session.run([self.output_name], feeds)[0]
        return result

    def reply(self, y: np.ndarray, data: Any) -> dict[str, Any]:
        """``data``: the values of ``y`` as the peer's JSON writer takes them."""
        return {"outputs": [{"name": self.output_name, "shape": list(y.shape), "datatype": "FP32", "data": data}]}


def rows_of(document: dict[str, Any]) -> np.ndarray:
    tensor = document["inputs"][0]
    return np.array(tensor["data"], _OF_PROTOCOL[tensor["datatype"]]).reshape(tensor["shape"])
