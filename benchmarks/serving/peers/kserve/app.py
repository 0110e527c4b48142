"""KServe's own model server, which its cluster runs in a pod; here alone."""

from functools import cache
from typing import Any

from kserve import InferOutput, InferResponse, ModelServer
from kserve import Model as KserveModel
from kserve.utils.utils import generate_uuid

from benchmarks.serving.peers.session import Model


@cache
def session() -> Model:
    """In each worker its own: the server sends this object to them, and a session cannot be sent."""
    return Model()


class OnnxModel(KserveModel):
    def load(self) -> bool:
        self.ready = True
        return True

    def predict(self, payload: Any, *_: Any, **__: Any) -> InferResponse:
        y = session()(payload.inputs[0].as_numpy())
        output = InferOutput("y", list(y.shape), "FP32")
        output.set_data_from_numpy(y, binary_data=False)
        # A request without an id would be echoed without one, which the server takes for a failure
        return InferResponse(response_id=payload.id or generate_uuid(), model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    model = OnnxModel("m")
    model.load()
    ModelServer().start([model])
