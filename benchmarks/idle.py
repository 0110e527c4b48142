"""Memory and CPU of `sizewise up` with 20 cold models and no traffic. Aim: at most 250 MiB and 2 % of a core.

python benchmarks/idle.py [--seconds 30]
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.common import Sizewise, cpu_s, pss_bytes, save
from sizewise.demo.onnx_files import write_random_mlp

MODELS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        models = {}
        for i in range(MODELS):
            path = Path(scratch) / f"m{i}.onnx"
            write_random_mlp(path, (64, 64 + i, 10), seed=i)
            models[f"m{i}"] = {"uri": str(path)}
        with Sizewise({"models": models}) as ours:
            time.sleep(10)  # what happens once after the start is not idling
            processes = ours.status()["processes"]
            pids = [p["pid"] for p in processes]
            before, started = cpu_s(pids), time.monotonic()
            time.sleep(options.seconds)
            cores = (cpu_s(pids) - before) / (time.monotonic() - started)
            rows = [{"role": p["role"], "pss_mib": round(pss_bytes(p["pid"]) / 2**20, 1)} for p in processes]
            total = sum(float(row["pss_mib"]) for row in rows)
            rows.append({"role": "all", "pss_mib": round(total, 1), "core_share": round(cores, 4)})
            note = f"PSS; CPU over {options.seconds:g} s; status is read outside the window"
            save("idle_20_models", rows, note=note, figures={"pss_mib": round(total, 1), "core_share": round(cores, 4)})


if __name__ == "__main__":
    main()
