"""Models that are Python files, made to weigh, to take time, to grow or to die as a test wants."""

import time
from pathlib import Path

TENSORS = """
INPUTS = [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
OUTPUTS = [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]
"""


def write(path: Path, *, load: str = "return None", predict: str = "pass") -> Path:
    """y = 2 x, after ``predict``; both are statements, ``model`` is what ``load`` returned."""
    path.write_text(
        f"{TENSORS}\ndef load():\n    {load}\n\n"
        f"def predict(model, inputs):\n    {predict}\n    return {{'y': 2 * inputs['x']}}\n"
    )
    return path


def loops_per_s() -> float:
    """How many turns of an empty loop this machine makes in a second of a core; the best of a few tries."""
    best_s = float("inf")
    for _ in range(5):
        began_s = time.thread_time()
        for _ in range(200_000):
            pass
        best_s = min(best_s, time.thread_time() - began_s)
    return 200_000 / best_s


def busy(seconds: float) -> str:
    """Statements that compute for so long on each row, so that batches gain nothing."""
    return f"for _ in range({int(seconds * loops_per_s())} * len(inputs['x'])): pass"


def slow(seconds: float) -> str:
    """Statements that take so long for each row without computing, however fast the machine is at the moment."""
    return f"import time; time.sleep({seconds} * len(inputs['x']))"
