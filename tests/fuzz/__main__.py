"""``python -m tests.fuzz --seconds 600``: every target in turn, until the time is over or something breaks.

What broke is made small, kept in the corpus and printed. What gave an outcome that nothing in the corpus gives is made
small and kept as well; `make test` replays the corpus.
"""

import argparse
import hashlib
import logging
import sys
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.strategies import inputs
from tests.fuzz.targets import TARGETS, Target

CORPUS = Path(__file__).with_name("corpus")
ROUND = 400
"""Examples between two looks at the clock; what was found in one is built upon in the next."""
MOST_KEPT = 120
"""Of one target: outcomes have numbers in them that could go on for ever."""


def kept_of(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]


def keep(name: str, data: bytes) -> None:
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)


def smaller(target: Target, data: bytes, outcome: str) -> bytes:
    """Without every stretch that the outcome does not need."""
    size = len(data) // 2
    while size:
        at = 1
        while at < len(data):
            without = data[:at] + data[at + size :]
            if outcome_of(target, without) == outcome:
                data = without
            else:
                at += size
        size //= 2
    return data


def outcome_of(target: Target, data: bytes) -> str:
    try:
        return target(data)
    except Exception as error:
        return f"broke: {type(error).__name__}"


def one_round(name: str, kept: list[bytes], known: set[str]) -> tuple[int, dict[str, bytes]]:
    """Inputs tried, and one for each outcome that was not known. Raises what a target raises."""
    target, found = TARGETS[name], dict[str, bytes]()
    tried: list[bytes] = []

    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(name, kept))
    def try_one(data: bytes) -> None:
        tried.append(data)
        outcome = target(data)
        if outcome not in known:
            found.setdefault(outcome, data)

    try:
        try_one()
    except Exception:
        # The last that Hypothesis tries is the smallest
        keep(name, tried[-1])
        print(f"{name}: broke on {tried[-1]!r}, which the corpus now has")
        raise
    return len(tried), found


def fuzz(name: str, until_s: float) -> tuple[int, int]:
    """Inputs tried, and how many were kept."""
    kept, tried, before = kept_of(name), 0, len(kept_of(name))
    known = {outcome_of(TARGETS[name], data) for data in kept}
    while time.monotonic() < until_s:
        count, found = one_round(name, kept, known)
        tried += count
        known |= set(found)
        for outcome, data in list(found.items())[: max(0, MOST_KEPT - len(kept))]:
            kept.append(smaller(TARGETS[name], data, outcome))
            keep(name, kept[-1])
    return tried, len(kept) - before


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], help="all, if none is named")
    arguments = parser.parse_args()
    logging.disable()
    names = arguments.targets or list(TARGETS)
    for name in names:
        began_s = time.monotonic()
        tried, added = fuzz(name, began_s + arguments.seconds / len(names))
        took_s = time.monotonic() - began_s
        print(f"{name}: {tried} inputs in {took_s:.0f} s, nothing broke, {added} kept", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
