"""A plain Flask app around a pickled model, as many teams have one. MODEL names the pickle."""

import os
import pickle
from pathlib import Path
from typing import Any

from flask import Flask, request

app = Flask(__name__)
model = pickle.loads(Path(os.environ["MODEL"]).read_bytes())


@app.get("/healthz")
def healthz() -> str:
    return "ok"


@app.post("/predict")
def predict() -> dict[str, Any]:
    return {"prediction": model.predict(request.get_json()["rows"]).tolist(), "pid": os.getpid()}
