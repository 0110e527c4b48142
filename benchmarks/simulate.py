"""Requests per core-second of the simulator, with the real controller deciding every second at 1000 requests a second.

python -m benchmarks.simulate [--seconds 600]
"""

import argparse
import time
from pathlib import Path
from typing import Any

from benchmarks.common import save
from sizewise.simulation import running
from sizewise.simulation.parsing import choice, parse_scenario
from sizewise.simulation.scenario import Mode, PolicyChoice

TEXT = """\
generate: {{kind: poisson, duration_s: {seconds}, rate_per_s: 1000}}
models:
  "*": {{service_ms: 6, cv: 0.3, load_s: 10, memory: 1GiB, slo: {{p95_ms: 100}}, queue: 1000}}
capacity: {{replicas: 40}}
start_replicas: 8
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    seconds = parser.parse_args().seconds
    scenario = parse_scenario(TEXT.format(seconds=seconds), file="benchmark", base=Path())
    warm = parse_scenario(TEXT.format(seconds=10), file="benchmark", base=Path())
    rows: list[dict[str, Any]] = []
    for engine, threshold in (("plain", 1 << 60), ("compiled", 0)):
        running.WORTH_COMPILING = threshold
        for policy in (PolicyChoice(name="static", mode=Mode.STOCK, parameters={"replicas": 8}), choice("sizewise")):
            running.run_policy(warm, policy)
            began_s = time.process_time()
            outcome = running.run_policy(scenario, policy)
            rate = outcome.requests / (time.process_time() - began_s)
            in_slo = round(outcome.attainment_requests, 4)
            rows.append({"engine": engine, "policy": policy.name, "per_core_s": round(rate), "in_slo": in_slo})
    figures = {f"{row['engine']}_{row['policy']}_per_core_s": float(row["per_core_s"]) for row in rows}
    save("simulate", rows, note=f"{seconds} s at 1000 requests/s, decisions every second", figures=figures)


if __name__ == "__main__":
    main()
