"""Ask what a model weighs: no server, nothing left running.

Needs: pip install 'sizewise[sklearn]'
"""

import tempfile
from pathlib import Path

import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import sizewise


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "iris.skops")
        data = load_iris()
        skops.io.dump(LogisticRegression(max_iter=500).fit(data.data, data.target), path)

        # Reading the file is enough for its size and for an estimate of the rest
        read = sizewise.profile(path, sizewise.ProfileOptions(measure=False))
        facts = read.profile.facts
        print(f"{facts.format}, {facts.disk_bytes} bytes on disk, takes {facts.inputs[0].shape}")

        # Loading and running it in a child process gives the figures of this machine
        measured = sizewise.profile(path).measured
        assert measured is not None
        print(f"loads in {measured.load.total_s:.3f} s, one call takes {measured.curve.p50_s(1):.6f} s")

        assert read.measured is None
        assert facts.inputs[0].shape == (-1, 4)
        assert measured.load.total_s > 0
        assert measured.memory.replica_bytes > 0
        assert measured.curve.throughput_per_s(64) > measured.curve.throughput_per_s(1), "batches pay"


if __name__ == "__main__":
    main()
