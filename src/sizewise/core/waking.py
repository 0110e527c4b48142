"""Models that are asked for while they sleep, between two decisions about all: the same decision, for them alone.

What others have or were promised is taken as the last decision left it. So whatever these models could get only by
taking it from others waits for the next decision about all.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sizewise.core.decide import decide
from sizewise.core.density import Homes, Packed, Placement
from sizewise.core.fleet import FleetDecision, FleetView, ModelView
from sizewise.core.sharing import OWN_PROCESSES
from sizewise.core.warmth_policies import policy_of


@dataclass(slots=True)
class Settled:
    """The last decision about all models, and what it left: less with every model that has been woken since."""

    packed: Packed
    homes: Homes
    asleep: dict[str, ModelView]
    """Models that nothing was decided for."""
    free_bytes: int
    free_slots: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken:
    """``view`` has those models only that ``decision`` starts."""

    view: FleetView
    decision: FleetDecision
    placement: Placement


def settled(packed: Packed, decision: FleetDecision, placement: Placement) -> Settled:
    """What ``wake`` goes by, after ``decide`` and ``place``."""
    assert placement.homes is not None
    pairs = zip(packed.view.models, decision.models, strict=True)
    asleep = {m.name: m for m, d in pairs if not (m.replicas or d.desired or m.candidate)}
    if packed.view.machines or policy_of(packed.view.machine.warmth).remembers:
        asleep = {}  # the decision goes by more than one model at a time
    return Settled(packed, placement.homes, asleep, decision.free_bytes, decision.free_slots)


def wake(known: Settled, names: Iterable[str], now_s: float) -> Woken:
    """Starts for those of these models that sleep and have room."""
    packed, homes = known.packed, known.homes
    # One more than may have a process each has all small ones share: that is for the next decision about all
    shared = packed.sharing is not None or homes.small < OWN_PROCESSES
    asked = [_asked(known.asleep[name], now_s) for name in sorted(set(names) & known.asleep.keys()) if shared]
    machine = replace(
        packed.view.machine,
        overhead_bytes=max(0, packed.view.machine.memory_bytes - known.free_bytes),
        load_slots=known.free_slots,
    )
    view = replace(packed.view, now_s=now_s, machine=machine, models=tuple(asked))
    decision = decide(view)
    started = tuple(d for d in decision.models if d.start)
    if started:
        known.free_bytes, known.free_slots = decision.free_bytes, decision.free_slots
    for each in started:
        del known.asleep[each.name]
    hosts = {d.name: tuple(homes.one_more(d.name) for _ in range(d.start)) for d in started}
    return Woken(
        view=replace(view, models=tuple(m for m in asked if m.name in hosts)),
        decision=replace(decision, models=started),
        placement=Placement(hosts=hosts, homes=homes),
    )


def _asked(model: ModelView, now_s: float) -> ModelView:
    """Somebody waits for it: that is all that is known so far."""
    return replace(model, demand=replace(model.demand, observed_at_s=now_s, held=1, queued=1, idle_s=0.0))
