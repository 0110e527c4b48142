"""Flask under gunicorn, with Flask's own JSON."""

from flask import Flask, Response, jsonify, request

from benchmarks.serving.peers.session import Model, rows_of

model = Model()
app = Flask(__name__)


@app.post("/predict")
def predict() -> Response:
    y = model(rows_of(request.get_json()))
    return jsonify(model.reply(y, y.ravel().tolist()))
