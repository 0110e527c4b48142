"""A day and a half of snapshots through the ledger: what it expects, keeps and takes up again."""

from dataclasses import replace

import orjson

from sizewise.controller.counters import Counters
from sizewise.controller.ledger import Ledger, Outlook
from sizewise.core.profiles import LoadTime
from sizewise.core.seasonal import DAY_S
from sizewise.protocols.backend import ModelTraffic, Snapshot
from tests.unit.controller.test_reconcile import PROFILE, RECORD, VERSION

STEP_S = 60.0


def watch(ledger: Ledger, *, load_s: float, begin_s: float, end_s: float) -> list[tuple[float, float]]:
    """(present rate, forecast rate) at each look: quiet for half an hour, busy for the next, all day long."""
    profile = replace(PROFILE, load=LoadTime(load_s=load_s))
    arrivals, found = 0, []
    for k in range(int(begin_s / STEP_S), int(end_s / STEP_S)):
        now_s = k * STEP_S
        arrivals += int(STEP_S * (1 if now_s % 3600 < 1800 else 50))
        traffic = (ModelTraffic(model="a", arrivals=arrivals),)
        snapshot = Snapshot(at_s=now_s, traffic=traffic, traffic_at_s=now_s, gateway_epoch="one")
        outlook = Outlook(profiles={VERSION.hash: profile}, memory_bytes=1 << 30, unix_s=now_s)
        ledger.absorb(snapshot, [RECORD], outlook=outlook)
        demand = ledger.demand("a", now_s)
        found.append((demand.stable_per_s, demand.forecast_per_s))
    return found


def test_what_comes_every_hour_is_expected_from_the_second_day_on_also_after_a_restart() -> None:
    first = Ledger(Counters())
    assert not any(expected for _, expected in watch(first, load_s=300.0, begin_s=0.0, end_s=DAY_S))
    kept = orjson.loads(orjson.dumps(first.to_keep("boot")))
    second = Ledger(Counters())
    second.restore(kept, "another boot")
    found = watch(second, load_s=300.0, begin_s=DAY_S, end_s=1.5 * DAY_S)
    ahead = [expected for present, expected in found[240:] if present < 2 and expected > 25]
    assert len(ahead) >= 8 * 3, "for minutes before each of the last eight rises"


def test_quick_models_have_no_season() -> None:
    ledger = Ledger(Counters())
    watch(ledger, load_s=1.0, begin_s=0.0, end_s=7200.0)
    assert ledger.to_keep("boot")["seasons"] == {}
