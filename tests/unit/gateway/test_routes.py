"""The ``routes`` message."""

from typing import Any

import pytest

from sizewise.gateway.link import FrameReplica
from sizewise.gateway.proxy import PortReplica
from sizewise.gateway.routes import model_route
from sizewise.protocols.serde import to_jsonable
from tests.unit.gateway.rig import Rig, get, route

MODEL: dict[str, Any] = to_jsonable(route())


def test_a_route_survives_the_wire() -> None:
    assert model_route(MODEL) == route()


def test_fields_of_a_newer_keeper_are_left_out() -> None:
    assert model_route({**MODEL, "color": "green"}) == route()


@pytest.mark.parametrize("missing", ["model", "version", "runtime"])
def test_a_route_without_its_core_is_refused(missing: str) -> None:
    with pytest.raises((TypeError, KeyError), match=missing):
        model_route({key: value for key, value in MODEL.items() if key != missing})


def names(made: Rig) -> tuple[list[str], list[str]]:
    return sorted(made.gateway.models), sorted(made.gateway.replicas)


async def test_changes_and_resets() -> None:
    made = Rig()
    at = {"model": "m", "version": "v1", "socket": "r-a.sock", "max_outstanding": 3}
    made.gateway.set_routes({"models": {"m": MODEL, "n": {**MODEL, "model": "n"}}, "replicas": {"a": at}})
    assert names(made) == (["m", "n"], ["a"])
    assert isinstance(made.gateway.replicas["a"], FrameReplica)
    same = made.gateway.replicas["a"]
    made.gateway.set_routes({"models": {"m": MODEL}, "replicas": {"a": at}})
    assert made.gateway.replicas["a"] is same
    made.gateway.set_routes({"models": {"n": None}, "replicas": {"b": {**at, "socket": None, "port": 9}}})
    assert names(made) == (["m"], ["a", "b"])
    assert isinstance(made.gateway.replicas["b"], PortReplica)
    made.gateway.set_routes({"reset": True, "models": {"m": MODEL}, "replicas": {}})
    assert names(made) == (["m"], [])
    assert made.gateway.models["m"].replicas == set()
    made.gateway.set_routes({"reset": True, "models": {}, "replicas": {}})
    assert names(made) == ([], [])
    assert made.ask(get("/v2/models/m")).statuses == [404]
    made.gateway.stop()


async def test_a_replica_of_an_unknown_model_is_left_out() -> None:
    made = Rig()
    made.gateway.set_routes({"models": {}, "replicas": {"a": {"model": "gone", "version": "v1", "socket": "s"}}})
    assert names(made) == ([], [])


async def test_a_replica_with_a_new_place_is_a_new_replica() -> None:
    made = Rig()
    at = {"model": "m", "version": "v1", "port": 9, "max_outstanding": 3}
    made.gateway.set_routes({"models": {"m": MODEL}, "replicas": {"a": at}})
    first = made.gateway.replicas["a"]
    made.gateway.set_routes({"models": {}, "replicas": {"a": {**at, "port": 10}}})
    assert made.gateway.replicas["a"] is not first
    assert len(made.gateway.models["m"].replicas) == 1
    made.gateway.stop()


async def test_a_drained_replica_may_come_back() -> None:
    made = Rig()
    at = {"model": "m", "version": "v1", "port": 9, "max_outstanding": 3}
    made.gateway.set_routes({"models": {"m": MODEL}, "replicas": {"a": at}})
    routing = made.gateway.models["m"].routing
    made.gateway.replicas["a"].leaving = True
    made.gateway.models["m"].find_ready()
    assert [slot.replica_id for slot in routing.slots] == []
    made.gateway.set_routes({"models": {}, "replicas": {"a": at}})
    assert [slot.replica_id for slot in routing.slots] == ["a"]
    made.gateway.stop()
