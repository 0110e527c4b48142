"""Simulated figures beside measured ones: the same traffic twice for real and once in the simulator.

``paced`` models hold real memory and wait where others load and compute, so that a dozen replicas fit on any machine;
``compute`` models compute, as far as the cores allow. The simulator is told what ``sizewise profile`` measures.

python -m benchmarks.fidelity paced|compute [--minutes 15]
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.common import save
from benchmarks.fidelity.cases import compute, paced
from benchmarks.fidelity.figures import compared
from benchmarks.fidelity.real import measured, replay
from benchmarks.fidelity.simulated import simulated, write_trace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=("paced", "compute"))
    parser.add_argument("--minutes", type=float, help="length of each replay; 15 for paced, 5 for compute")
    options = parser.parse_args()
    case = paced() if options.case == "paced" else compute()
    minutes = options.minutes or case.minutes
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        profiles = measured(case, folder)
        real = [replay(case, folder, 60 * minutes) for _ in range(2)]
        write_trace(case, folder / "trace.csv", 60 * minutes)
        overhead_bytes = sum(each.overhead_bytes for each in real) // len(real)
        found = simulated(case, profiles, folder / "trace.csv", seconds=60 * minutes, overhead_bytes=overhead_bytes)
    rows = compared([each.figures for each in real], found)
    command = f"python -m benchmarks.fidelity {case.name} --minutes {minutes:g}"
    note = f"{command}: two real runs, and what the simulator says of them"
    figures = {f"{row['figure']}_off_to_aim": round(row["off"] / row["aim"], 3) for row in rows if "aim" in row}
    if case.name == "paced":
        save("fidelity_paced", rows, note=note, figures=figures)
    else:
        save("fidelity_compute", rows, note=note, figures=figures)


if __name__ == "__main__":
    main()
