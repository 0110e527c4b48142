"""A model that is woken between two decisions gets what a decision about all would give it, and takes from nobody."""

from dataclasses import replace
from typing import Any

import pytest

from sizewise.core.decide import decide
from sizewise.core.density import pack, place
from sizewise.core.fleet import FleetView, Isolation, MachineView, ModelView
from sizewise.core.sharing import OWN_PROCESSES
from sizewise.core.units import GIB, MIB
from sizewise.core.waking import Settled, settled, wake
from tests.unit.core.test_density import BIG, serving, small
from tests.unit.core.views import NOW_S, asked, model


def sleeping(count: int, **rest: Any) -> list[ModelView]:
    return [model(f"s{i:04}", asked(), **{"profile": small(), **rest}) for i in range(count)]


def after(*models: ModelView, machine: MachineView = BIG) -> Settled:
    packed = pack(FleetView(now_s=NOW_S, machine=machine, models=models))
    decision = decide(packed.view)
    return settled(packed, decision, place(packed, decision))


@pytest.mark.parametrize("living", [0, 20, 2 * OWN_PROCESSES])
def test_as_a_decision_about_all_has_it(living: int) -> None:
    others, (one, *rest) = serving(living), sleeping(3)
    woken = wake(after(*others, one, *rest), [one.name], NOW_S + 0.5)
    packed = pack(
        FleetView(now_s=NOW_S, machine=BIG, models=(*others, replace(one, demand=asked(held=1, queued=1)), *rest))
    )
    everything = decide(packed.view)
    (expected,) = [d for d in everything.models if d.start]
    (found,) = woken.decision.models
    assert (found.name, found.start, found.start_version) == (expected.name, 1, expected.start_version)
    assert found.reason.code == expected.reason.code == "cold_request"
    assert woken.placement.hosts == place(packed, everything).hosts
    assert [m.name for m in woken.view.models] == [one.name]


def test_each_is_woken_once() -> None:
    known = after(*sleeping(3))
    assert len(wake(known, ["s0000", "s0001", "nobody"], NOW_S).decision.models) == 2
    assert not wake(known, ["s0000", "s0001"], NOW_S).decision.models
    assert len(wake(known, ["s0002"], NOW_S).decision.models) == 1


def test_they_take_what_is_free_and_no_more() -> None:
    machine = MachineView(cpus=2, memory_bytes=64 * MIB, overhead_bytes=10 * MIB, load_slots=8)
    models = sleeping(100, isolation=Isolation.PROCESS)
    known, each = after(*models, machine=machine), models[0].profile.memory.replica_bytes
    started = [m.name for m in models if wake(known, [m.name], NOW_S).decision.models]
    assert len(started) == (64 - 10) * MIB // each
    assert 0 <= known.free_bytes < each
    machine = replace(machine, load_slots=1)
    known = after(*sleeping(100, profile=replace(small(), load=replace(small().load, load_s=2.0))), machine=machine)
    assert sum(len(wake(known, [m.name], NOW_S).decision.models) for m in models) == 1, "loads share the disk"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"pinned": 0}, id="unloaded by hand"),
        pytest.param({"parked_until_s": NOW_S + 60}, id="parked"),
        pytest.param({"candidate": "v2"}, id="in a rollout"),
        pytest.param(
            {"profile": replace(small(), memory=replace(small().memory, resident_bytes=32 * GIB))}, id="large"
        ),
    ],
)
def test_what_a_decision_refuses_stays_asleep(changes: dict[str, Any]) -> None:
    (one,) = sleeping(1)
    assert not wake(after(replace(one, **changes)), [one.name], NOW_S).decision.models


def test_the_hundred_and_first_waits_for_those_that_must_move() -> None:
    known = after(*serving(OWN_PROCESSES - 1), *sleeping(2))
    assert wake(known, ["s0000"], NOW_S).placement.hosts == {"s0000": ("",)}
    assert not wake(known, ["s0001"], NOW_S).decision.models


def test_those_that_share_fill_hosts_as_a_decision_would() -> None:
    known = after(*serving(2 * OWN_PROCESSES), *sleeping(300))
    hosts = [host for i in range(300) for host in wake(known, [f"s{i:04}"], NOW_S).placement.hosts[f"s{i:04}"]]
    at_once = wake(after(*serving(2 * OWN_PROCESSES), *sleeping(300)), [f"s{i:04}" for i in range(300)], NOW_S)
    assert [host for each in at_once.placement.hosts.values() for host in each] == hosts
    assert all(hosts)
    assert max(map(hosts.count, hosts)) <= 128
