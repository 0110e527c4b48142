"""A day of a long catalogue: per-minute rates of 10,000 models, one decision a minute, in seconds of one core.

python -m benchmarks.catalogue_day [--models 10000] [--hours 24] [--profile]
"""

import argparse
import cProfile
import pstats
import time
from pathlib import Path

from benchmarks.common import save
from sizewise.simulation.parsing import choice, parse_scenario
from sizewise.simulation.running import run_policy

TEXT = """\
generate: {{kind: zipf, duration_s: {seconds}, rate_per_s: {rate}, models: {models}, exponent: 1.0}}
models:
  "*": {{service_ms: 50, cv: 0.3, load_s: 10, memory: 1GiB, slo: {{p95_ms: 500}}}}
capacity: {{replicas: {models}}}
start_replicas: 0
decide_every_s: 60
wake_s: 60
"""
DAY_S = 86_400.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=24.0, help="less than a day is scaled up")
    parser.add_argument("--profile", action="store_true", help="show where the time goes instead, and save nothing")
    options = parser.parse_args()
    seconds = options.hours * 3600
    text = TEXT.format(seconds=seconds, models=options.models, rate=options.models / 100)
    scenario = parse_scenario(text, file="benchmark", base=Path())
    watch = cProfile.Profile()
    if options.profile:
        watch.enable()
    began_s = time.process_time()
    outcome = run_policy(scenario, choice("sizewise"))
    core_s = time.process_time() - began_s
    if options.profile:
        watch.disable()
        pstats.Stats(watch).sort_stats("tottime").print_stats(30)
        return
    row = {
        "models": options.models,
        "hours": options.hours,
        "requests": outcome.requests,
        "core_s": round(core_s, 1),
        "day_minutes": round(core_s / 60 * DAY_S / seconds, 2),
        "step_ms": round(core_s * 1e3 / (seconds / 60), 1),
    }
    figures = {"day_minutes": row["day_minutes"]}
    save("catalogue_day", [row], note="decisions every minute; one process", figures=figures)


if __name__ == "__main__":
    main()
