"""Serve a model file, ask it, and read why it has the replicas it has.

Needs: pip install 'sizewise[sklearn]'
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.request import Request, urlopen

import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import sizewise

SPEC = """
models:
  iris:
    uri: iris.skops
    slo: {p95_ms: 100}
serving: {port: 0, admin_port: 0}     # free ports, so that this runs beside anything
"""


def ask(url: str, rows: list[list[float]]) -> list[int]:
    """One request of the Open Inference Protocol."""
    tensor = {"name": "input", "shape": [len(rows), 4], "datatype": "FP64", "data": rows}
    body = json.dumps({"inputs": [tensor], "outputs": [{"name": "predict"}]}).encode()
    with urlopen(Request(f"{url}/v2/models/iris/infer", body, {"Content-Type": "application/json"})) as answer:
        found: list[int] = json.load(answer)["outputs"][0]["data"]
    return found


def main() -> None:
    data = load_iris()
    model = LogisticRegression(max_iter=500).fit(data.data, data.target)
    with tempfile.TemporaryDirectory(prefix="sizewise-") as folder:
        skops.io.dump(model, Path(folder, "iris.skops"))
        Path(folder, "sizewise.yaml").write_text(SPEC)
        state = Path(folder, "state")
        up = [sys.executable, "-m", "sizewise", "up", str(Path(folder, "sizewise.yaml"))]
        subprocess.run([*up, "--state-dir", str(state), "--detach"], check=True)
        try:
            with sizewise.connect(state_dir=state) as system:
                # Nothing is loaded yet: this first request waits until a replica is up
                answered = ask(system.status()["data_url"], data.data[:3].tolist())
                print("answered:", answered)
                print("because: ", system.explain("iris", 20)["decisions"][-1]["reason"])
                assert system.model("iris")["cold_starts_total"] == 1
        finally:
            sizewise.down(state)
        assert answered == model.predict(data.data[:3]).tolist()


if __name__ == "__main__":
    main()
