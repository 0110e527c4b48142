"""Who shares a process with whom: tables of cases, and what always holds."""

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizewise.core.decide import decide
from sizewise.core.density import (
    HOST_BYTES,
    MOST_BYTES,
    MOST_REPLICAS,
    MOVES_AT_ONCE,
    Move,
    Placement,
    allowance_bytes,
    pack,
    place,
)
from sizewise.core.fleet import FleetView, HostView, Isolation, MachineView, ModelView, ReplicaState, ReplicaView
from sizewise.core.profiles import ModelProfile
from sizewise.core.sharing import FEW, OWN_PROCESSES, hosted_bytes
from sizewise.core.units import GIB, MIB
from tests.unit.core.fleet_sim import profile
from tests.unit.core.views import NOW_S, asked, model, replica

BIG = MachineView(cpus=2, memory_bytes=16 * GIB, overhead_bytes=0, load_slots=4)


def small(runtime: str = "onnx", **rest: Any) -> ModelProfile:
    made = profile(private=2 * MIB, service_s=0.0005, runtime=runtime, load_s=0.002)
    facts = replace(made.facts, disk_bytes=100_000)
    return replace(made, facts=facts, **rest)


def ready(name: str, host: str = "", **rest: Any) -> ReplicaView:
    return replica(name, host=host, **rest)


def serving(count: int, host: str = "", **rest: Any) -> list[ModelView]:
    """Small models with one settled replica each."""
    return [
        model(f"m{i:04}", asked(1.0), profile=small(), replicas=(ready(f"r{i:04}", host),), **rest)
        for i in range(count)
    ]


def waking(count: int, **rest: Any) -> list[ModelView]:
    demand = asked(held=1, queued=1)
    return [model(f"w{i:04}", demand, **{"profile": small(), **rest}) for i in range(count)]


def placed(*models: ModelView, machine: MachineView = BIG, hosts: tuple[HostView, ...] = ()) -> Placement:
    packed = pack(FleetView(now_s=NOW_S, machine=machine, models=models, hosts=hosts))
    return place(packed, decide(packed.view))


def homes(placement: Placement) -> list[str]:
    return [host for hosts in placement.hosts.values() for host in hosts]


@pytest.mark.parametrize(
    ("living", "share"),
    [
        pytest.param(0, False, id="alone in the world"),
        pytest.param(OWN_PROCESSES - 1, False, id="the hundredth has its own"),
        pytest.param(OWN_PROCESSES, True, id="one more shares"),
    ],
)
def test_up_to_a_hundred_have_a_process_each(living: int, share: bool) -> None:
    placement = placed(*serving(living), *waking(1))
    assert [bool(host) for host in homes(placement)] == [share]
    assert bool(placement.moves) == share
    assert placement.reasons["w0000"].code == ("many" if share else "few")


def test_memory_pressure_makes_few_share() -> None:
    machine = replace(BIG, memory_bytes=24 * MIB)
    assert not any(homes(placed(*serving(4), *waking(1))))
    placement = placed(*serving(9), *waking(1), machine=machine)
    assert all(homes(placement))
    assert placement.reasons["w0000"].code == "pressure"


def test_those_who_share_go_on_until_there_are_few() -> None:
    settled = serving(FEW, host="h1")
    assert homes(placed(*settled, *waking(1))) == ["h1"] or homes(placed(*settled, *waking(1)))[0].startswith("+")
    few = placed(*serving(FEW - 10, host="h1"), *waking(1))
    assert homes(few) == [""]
    assert few.moves == (), "nobody moves back for that"
    assert few.reasons["m0000"].code == "settled"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"isolation": Isolation.PROCESS}, "isolation", id="asked for"),
        pytest.param({"alone": "its host ended while it executed (signal 11)"}, "alone", id="culprit"),
        pytest.param({"profile": small("python")}, "code", id="Python"),
        pytest.param({"profile": small("torch")}, "code", id="TorchScript"),
        pytest.param({"profile": profile(private=64 * MIB)}, "large", id="large"),
        pytest.param({"profile": replace(small(), curve=profile(service_s=0.05).curve)}, "slow", id="slow"),
        pytest.param({"demand": asked(400.0, held=1, queued=1)}, "hot", id="hot"),
    ],
)
def test_who_stays_alone(changes: dict[str, Any], code: str) -> None:
    odd = model("odd", **{"demand": asked(held=1, queued=1), "profile": small(), **changes})
    placement = placed(*serving(OWN_PROCESSES + 1, host="h1"), odd)
    assert set(placement.hosts["odd"]) == {""}
    assert placement.reasons["odd"].code == code


def test_runtimes_do_not_mix() -> None:
    placement = placed(*serving(OWN_PROCESSES + 1), *waking(3), model("x", asked(held=1), profile=small("xgboost")))
    xgboost = set(placement.hosts["x"])
    onnx = {host for name, hosts in placement.hosts.items() if name != "x" for host in hosts}
    onnx |= {move.host for move in placement.moves}
    assert not xgboost & onnx


def test_a_second_version_goes_elsewhere() -> None:
    rolling = model(
        "m", asked(1.0), profile=small(), replicas=(ready("r", "h1"),), candidate="v2", candidate_profile=small()
    )
    others = [replace(m, replicas=(ready(f"r-{m.name}", "h1"),)) for m in serving(OWN_PROCESSES + 1)]
    (host,) = placed(*others, rolling).hosts["m"]
    assert host not in {"", "h1"}


def test_one_hot_model_is_moved_out() -> None:
    hot = model("hot", asked(700.0), profile=small(), replicas=(ready("hot-1", "h1"),), max_replicas=1)
    moves = placed(*serving(OWN_PROCESSES + 1, host="h1"), hot).moves
    assert [(move.replica_id, move.host, move.reason.code) for move in moves] == [("hot-1", "", "hot")]


def test_what_is_free_for_a_moment_moves_in_a_few_at_a_time() -> None:
    busy = replace(serving(1)[0], name="busy", replicas=(ready("busy-1", outstanding=1),))
    moves = placed(*serving(OWN_PROCESSES + 50), busy).moves
    assert len(moves) == MOVES_AT_ONCE
    assert "busy-1" not in {move.replica_id for move in moves}
    assert len({move.host for move in moves}) == 2, "one for each core"


def test_a_move_goes_on_until_its_successor_is_ready() -> None:
    def during(state: ReplicaState) -> Placement:
        pair = (ready("old"), ready("new", "h1", state=state, replaces="old"))
        return placed(*serving(OWN_PROCESSES + 1, host="h1"), model("m", asked(1.0), profile=small(), replicas=pair))

    assert (during(ReplicaState.LOADING).stops, during(ReplicaState.LOADING).moves) == ((), ())
    assert during(ReplicaState.READY).stops == ("old",)
    assert during(ReplicaState.FAILED).stops == ("new",)


def test_the_decision_never_sees_a_replica_and_its_successor() -> None:
    pair = (ready("old"), ready("new", "h1", replaces="old"))
    packed = pack(FleetView(now_s=NOW_S, machine=BIG, models=(model("m", asked(1.0), profile=small(), replicas=pair),)))
    assert [r.replica_id for r in packed.view.models[0].replicas] == ["new"]
    (decided,) = decide(packed.view).models
    assert (decided.start, decided.stop) == (0, ())


GROWN = HostView(host="h1", memory_bytes=400 * MIB)


@pytest.mark.parametrize(
    ("members", "seen", "homes_of_moves"),
    [
        pytest.param(8, HostView(host="h1", memory_bytes=20 * MIB), {}, id="within its allowance"),
        pytest.param(8, GROWN, {"+0": 4, "+1": 4}, id="grown: halved"),
        pytest.param(3, GROWN, {"+0": 2, "+1": 1}, id="nobody is found out yet"),
        pytest.param(2, GROWN, {"+0": 1, "+1": 1}, id="it may be either"),
        pytest.param(1, GROWN, {"": 1}, id="the last one is judged by itself"),
        pytest.param(40, HostView(host="h1", unexplained=2), {"+0": 20, "+1": 20}, id="ended twice, nobody knows why"),
        pytest.param(40, HostView(host="h1", unexplained=1), {}, id="ended once"),
    ],
)
def test_halving(members: int, seen: HostView, homes_of_moves: dict[str, int]) -> None:
    moves = placed(*serving(members, host="h1"), hosts=(seen,)).moves
    assert Counter(move.host for move in moves) == homes_of_moves
    assert len({move.replica_id for move in moves}) == len(moves)


def test_a_host_is_not_halved_while_it_is() -> None:
    models = serving(4, host="h1")
    models[0] = replace(
        models[0], replicas=(*models[0].replicas, ready("s", "h2", state=ReplicaState.LOADING, replaces="r0000"))
    )
    assert placed(*models, hosts=(GROWN,)).moves == ()


def test_nobody_joins_a_host_that_is_halved() -> None:
    placement = placed(*serving(OWN_PROCESSES + 1, host="h1"), *waking(5), hosts=(GROWN,))
    assert "h1" not in homes(placement)


def test_a_thousand_fit_where_processes_of_their_own_would_not() -> None:
    machine = MachineView(cpus=2, memory_bytes=600 * MIB, overhead_bytes=120 * MIB, load_slots=1)
    packed = pack(FleetView(now_s=NOW_S, machine=machine, models=tuple(waking(1000))))
    decision = decide(packed.view)
    planned = sum(d.start for d in decision.models) + sum(d.reason.code == "load_slot" for d in decision.models)
    assert planned == 1000
    assert decision.memory_planned_bytes <= 600 * MIB


def test_an_allowance_grows_with_its_replicas() -> None:
    assert allowance_bytes([]) > HOST_BYTES
    assert allowance_bytes([MIB] * 100) - allowance_bytes([MIB] * 50) == 75 * MIB


@st.composite
def fleets(draw: st.DrawFn) -> FleetView:
    count = draw(st.integers(1, 160))
    seed = draw(st.integers(0, 1 << 32))
    rng = random.Random(seed)
    models = []
    for i in range(count):
        runtime = rng.choice(["onnx", "onnx", "xgboost", "python"])
        hosts = ["", f"{runtime}-h0", f"{runtime}-h1"] if runtime != "python" else [""]
        own = [
            ready(f"r{i}-{n}", host, state=rng.choice(list(ReplicaState)), outstanding=rng.choice([0, 0, 1]))
            for n, host in enumerate(rng.sample(hosts, k=rng.randint(0, len(hosts))))
        ]
        demand = asked(rng.choice([0.0, 0.1, 5.0, 300.0]), held=rng.choice([0, 1]))
        isolation = rng.choice([Isolation.AUTO] * 5 + [Isolation.PROCESS])
        models.append(model(f"m{i}", demand, profile=small(runtime), replicas=tuple(own), isolation=isolation))
    seen = tuple(
        HostView(host=f"{r}-h{n}", memory_bytes=rng.choice([0, 20, 400]) * MIB, unexplained=rng.choice([0, 0, 2]))
        for r in ("onnx", "xgboost")
        for n in (0, 1)
    )
    machine = replace(BIG, memory_bytes=rng.choice([300 * MIB, 16 * GIB]))
    return FleetView(now_s=NOW_S, machine=machine, models=tuple(models), hosts=seen)


@settings(max_examples=40, deadline=None)
@given(fleets())
def test_what_always_holds(view: FleetView) -> None:
    packed = pack(view)
    placement = place(packed, decide(packed.view))
    models = {m.name: m for m in view.models}
    company = [(r.host, m.name) for m in view.models for r in m.replicas if r.host]
    company += [(host, name) for name, hosts in placement.hosts.items() for host in hosts if host]
    company += [(move.host, move.model) for move in placement.moves if move.host]
    assert max(Counter(company).values(), default=0) <= 1, "two replicas of one model in a host"
    joined = {host for host, _ in company}
    for host in joined:
        own = [models[name] for at, name in company if at == host]
        assert len({m.profile.facts.runtime for m in own}) == 1
        assert all(m.profile.facts.runtime != "python" for m in own), "code is among data"
        assert len(own) <= MOST_REPLICAS
        if host.startswith("+"):
            assert sum(hosted_bytes(m.profile) for m in own) <= MOST_BYTES
    for name, hosts in placement.hosts.items():
        assert models[name].isolation is Isolation.AUTO or not any(hosts)
    moved = [move.replica_id for move in placement.moves]
    assert len(moved) == len(set(moved))


@settings(max_examples=20, deadline=None)
@given(fleets(), st.randoms(use_true_random=False))
def test_the_order_of_models_means_nothing(view: FleetView, rng: random.Random) -> None:
    shuffled = list(view.models)
    rng.shuffle(shuffled)
    first, second = pack(view), pack(replace(view, models=tuple(shuffled)))
    a, b = place(first, decide(first.view)), place(second, decide(second.view))
    assert (dict(a.hosts), a.moves, set(a.stops)) == (dict(b.hosts), b.moves, set(b.stops))


def test_once_everybody_is_at_home_nobody_moves() -> None:
    view = [*serving(150)]
    where = {m.name: "" for m in view}
    moves: tuple[Move, ...] = placed(*view).moves
    for _ in range(30):
        models = [replace(m, replicas=(ready(m.replicas[0].replica_id, where[m.name]),)) for m in view]
        moves = placed(*models).moves
        if not moves:
            break
        names = {
            host: f"h{len(set(where.values()))}{host}".replace("+", "-")
            for host in {m.host for m in moves}
            if host.startswith("+")
        }
        where |= {move.model: names.get(move.host, move.host) for move in moves}
    assert moves == ()
    assert all(where.values())
    assert len(set(where.values())) == 2, "as many hosts as cores"
