"""Replicas of several models in one process: what they share, and what they must not."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import onnx
import pytest
from onnx import TensorProto, helper

from sizewise.core.fleet import ReplicaState
from sizewise.protocols.backend import ReplicaObserved, ReplicaSpec, Snapshot, StartReplica, StopReplica
from sizewise.protocols.control import run_dir
from sizewise.protocols.execution import ExecutionJournal, executing, record_of
from tests.e2e.plane import Plane, by_id, is_ready, publish

HOST = "beef"
MODELS = ("a", "b", "c", "d")
LONG = 100_000.0
"""Products of matrices: minutes."""


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with Plane() as made:
        yield made


def hosted(plane: Plane, model: str, *, replica_id: str = "", host: str = HOST) -> ReplicaSpec:
    return replace(plane.onnx(model, replica_id or f"{model}-1"), host=host)


async def serve(plane: Plane, models: Sequence[str] = MODELS, *, host: str = HOST) -> dict[str, ReplicaObserved]:
    starts = [StartReplica(spec=hosted(plane, model, host=host)) for model in models]
    await plane.backend.apply([*map(publish, models), *starts])
    return await plane.ready(*(f"{model}-1" for model in models))


async def doubled(plane: Plane, model: str, value: float = 1.5) -> list[float]:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [value] * 4}]}
    async with httpx.AsyncClient(timeout=30) as http:
        answer = await http.post(f"{plane.url}/v2/models/{model}/infer", json=body)
    assert answer.status_code == 200, answer.text
    found: list[float] = answer.json()["outputs"][0]["data"]
    return found


def settled(seen: Snapshot, models: Sequence[str], old: int | None) -> bool:
    return all(is_ready(seen, f"{m}-1") and by_id(seen)[f"{m}-1"].pid != old for m in models)


def as_slow_as_asked() -> onnx.ModelProto:
    """y = 2 x, after as many products of matrices as the first number says: some milliseconds each."""
    size = 512
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("MatMul", ["m", "m"], ["product"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("m", TensorProto.FLOAT, [size, size]),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("product", TensorProto.FLOAT, [size, size]),
        ],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["times"], to=TensorProto.INT64),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Loop", ["times", "yes", "zeros"], ["end"], body=body),
        helper.make_node("ReduceMax", ["end"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["x", "x"], ["twice"]),
        helper.make_node("Add", ["twice", "nothing"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [
            helper.make_tensor("shape", TensorProto.INT64, [2], [size, size]),
            helper.make_tensor("yes", TensorProto.BOOL, [], [True]),
        ],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])


async def test_they_share_one_process_and_all_answer(plane: Plane) -> None:
    seen = await serve(plane)
    pids = {each.pid for each in seen.values()}
    assert len(pids) == 1
    assert {each.host for each in seen.values()} == {HOST}
    for i, model in enumerate(MODELS):
        assert await doubled(plane, model, i + 0.5) == [2 * i + 1.0] * 4
    snapshot = await plane.backend.observe()
    assert [(each.host, each.pid) for each in snapshot.hosts] == [(HOST, pids.pop())]
    assert snapshot.hosts[0].memory_bytes > 0
    assert [each.role for each in snapshot.processes].count("host") == 1


async def test_the_last_one_to_leave_ends_the_process(plane: Plane) -> None:
    seen = await serve(plane, ("a", "b"))
    await plane.stop("a-1")
    assert await doubled(plane, "b") == [3.0] * 4
    await plane.stop("b-1")
    await plane.until(lambda seen: not seen.hosts)
    pid = seen["a-1"].pid
    assert pid not in {each.pid for each in plane.living()}
    assert (await serve(plane, ("a",)))["a-1"].pid != pid, "the id may be used again"


async def test_a_killed_process_without_a_call_blames_nobody(plane: Plane) -> None:
    pid = (await serve(plane))["a-1"].pid or 0
    await plane.kill(pid)
    seen = await plane.until(lambda seen: settled(seen, MODELS, pid))
    replicas = by_id(seen).values()
    assert {(each.restarts, each.last_exit, each.culprit, each.host) for each in replicas} == {(0, None, False, HOST)}
    assert [each.unexplained for each in seen.hosts] == [1]
    assert len({each.pid for each in replicas}) == 1


async def test_what_was_executing_restarts_alone(plane: Plane) -> None:
    pid = (await serve(plane))["a-1"].pid or 0
    # As the process itself would have left it: it is stopped, so nobody is executing in truth
    os.kill(pid, signal.SIGSTOP)
    ExecutionJournal(run_dir(plane.state_dir.resolve()) / f"h-{HOST}.journal").enter(record_of(b"b@1"))
    await plane.kill(pid)
    seen = by_id(await plane.until(lambda seen: settled(seen, MODELS, pid)))
    assert (seen["b-1"].culprit, seen["b-1"].host, seen["b-1"].last_exit) == (True, "", "signal 9")
    others = [seen[f"{m}-1"] for m in ("a", "c", "d")]
    assert {(each.culprit, each.host, each.restarts) for each in others} == {(False, HOST, 0)}
    assert seen["b-1"].pid not in {each.pid for each in others}
    for model in MODELS:
        assert await doubled(plane, model) == [3.0] * 4


async def test_a_crash_in_a_call_is_blamed_on_whoever_was_called(plane: Plane) -> None:
    slow = hosted(plane, "slow")
    onnx.save(as_slow_as_asked(), str(Path(slow.path) / slow.entry))
    await plane.backend.apply([publish("slow"), StartReplica(spec=slow)])
    pid = (await plane.ready("slow-1"))["slow-1"].pid or 0
    assert (await serve(plane, ("a", "b")))["a-1"].pid == pid
    journal = run_dir(plane.state_dir.resolve()) / f"h-{HOST}.journal"
    asking = asyncio.ensure_future(doubled(plane, "slow", LONG))
    await plane.until(lambda _: executing(journal) == "slow@1")
    waiting = asyncio.ensure_future(doubled(plane, "a"))
    os.kill(pid, signal.SIGSEGV)
    asking.cancel()  # nobody waits for its second try
    assert await waiting == [3.0] * 4, "what waited behind it is answered by the next process"
    seen = by_id(await plane.until(lambda seen: settled(seen, ("a", "b", "slow"), pid)))
    assert (seen["slow-1"].culprit, seen["slow-1"].host, seen["slow-1"].last_exit) == (True, "", "signal 11")
    assert {(seen[f"{m}-1"].culprit, seen[f"{m}-1"].host, seen[f"{m}-1"].restarts) for m in "ab"} == {(False, HOST, 0)}


async def test_a_model_that_does_not_load_hurts_nobody(plane: Plane) -> None:
    pid = (await serve(plane, ("a", "b")))["a-1"].pid
    broken = hosted(plane, "broken")
    (Path(broken.path) / broken.entry).write_bytes(b"not a model")
    await plane.backend.apply([publish("broken"), StartReplica(spec=broken)])
    seen = await plane.until(lambda seen: by_id(seen)["broken-1"].state is ReplicaState.FAILED)
    assert by_id(seen)["broken-1"].last_exit
    assert not by_id(seen)["broken-1"].culprit
    assert await doubled(plane, "a") == [3.0] * 4
    assert by_id(seen)["a-1"].pid == pid


async def test_a_new_keeper_takes_them_over(plane: Plane) -> None:
    pid = (await serve(plane))["a-1"].pid
    await plane.kill(plane.info.pid)
    await plane.new_backend()
    seen = by_id(await plane.until(lambda seen: all(is_ready(seen, f"{m}-1") for m in MODELS)))
    assert {(each.pid, each.host) for each in seen.values()} == {(pid, HOST)}
    for model in MODELS:
        assert await doubled(plane, model) == [3.0] * 4


async def test_a_new_keeper_lets_go_of_what_nobody_wants(plane: Plane) -> None:
    pid = (await serve(plane, ("a", "b")))["a-1"].pid
    keeper = plane.info.pid
    os.kill(pid or 0, signal.SIGSTOP)
    stop = asyncio.ensure_future(plane.backend.apply([StopReplica(replica_id="b-1", drain_s=0.0)]))
    await stop
    await plane.kill(keeper)
    os.kill(pid or 0, signal.SIGCONT)
    await plane.new_backend()
    seen = await plane.until(lambda seen: is_ready(seen, "a-1") and "b-1" not in by_id(seen))
    assert by_id(seen)["a-1"].pid == pid
    assert await doubled(plane, "a") == [3.0] * 4


async def test_versions_change_places_within_a_process(plane: Plane) -> None:
    await serve(plane, ("a", "b"))
    second = replace(hosted(plane, "a", replica_id="a-2"), version="2", host="cafe")
    await plane.backend.apply([StartReplica(spec=second)])
    await plane.ready("a-2")
    route = publish("a").route
    await plane.backend.apply([type(publish("a"))(route=replace(route, version="2")), StopReplica(replica_id="a-1")])
    await plane.until(lambda seen: "a-1" not in by_id(seen))
    assert await doubled(plane, "a") == [3.0] * 4
    assert await doubled(plane, "b") == [3.0] * 4
