"""The parts of the local backend that are values in, values out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.backends.local.backend import event_of
from sizewise.backends.local.backoff import CALM_S, LONGEST_S, Backoff
from sizewise.backends.local.desired import Desired, actions_from_json, actions_to_json
from sizewise.backends.local.keeper import grpc_command, parse
from sizewise.backends.local.probe import counts_as_ready
from sizewise.backends.local.processes import words_of_status
from sizewise.backends.local.replica import OomWatch
from sizewise.backends.local.warm import Folders
from sizewise.core.tensors import TensorSpec
from sizewise.protocols.backend import (
    Action,
    CommandSpec,
    Event,
    EventKind,
    ModelRoute,
    PublishModel,
    ReplicaSpec,
    StartReplica,
    StopReplica,
    WithdrawModel,
)
from sizewise.protocols.control import Message
from sizewise.protocols.errors import UnavailableError

SPEC = ReplicaSpec(
    replica_id="digits-1",
    model="digits",
    version="3f2a",
    runtime="onnx",
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 64)),),
)
COMMAND = ReplicaSpec(
    replica_id="legacy-1",
    model="legacy",
    version="1",
    runtime="command",
    command=CommandSpec(argv=("serve", "{port}"), env=(("A", "b"),), ready_path="/healthz"),
)
ROUTE = ModelRoute(model="digits", version="3f2a", platform="onnx_onnxv1", runtime="onnx", slo_s=0.05)
ACTIONS = (
    PublishModel(route=ROUTE),
    StartReplica(spec=SPEC),
    StartReplica(spec=COMMAND),
    StopReplica(replica_id="digits-1", drain_s=3.0, why="idle"),
    WithdrawModel(model="digits"),
)


def test_actions_travel_whole() -> None:
    assert actions_from_json(actions_to_json(ACTIONS)) == ACTIONS


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param({"type": "Explode"}, "'Explode' is not an action", id="unknown"),
        pytest.param({"replica_id": "a"}, "None is not an action", id="no type"),
        pytest.param({"type": "StopReplica"}, "replica_id", id="a field is missing"),
    ],
)
def test_what_is_not_an_action_is_named(value: Message, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        actions_from_json([value])


@pytest.mark.parametrize(
    ("actions", "models", "replicas", "draining"),
    [
        pytest.param(ACTIONS[:2], {"digits"}, {"digits-1"}, set(), id="published and started"),
        pytest.param(ACTIONS[:2] * 2, {"digits"}, {"digits-1"}, set(), id="twice: harmless"),
        pytest.param(ACTIONS, set(), {"legacy-1"}, {"digits-1"}, id="stopped and withdrawn"),
        pytest.param((StopReplica(replica_id="nobody"),), set(), set(), set(), id="stop of what never was"),
    ],
)
def test_desired_state(actions: tuple[Action, ...], models: set[str], replicas: set[str], draining: set[str]) -> None:
    desired = Desired()
    for action in actions:
        desired.apply(action)
    assert (set(desired.models), set(desired.replicas), set(desired.draining)) == (models, replicas, draining)


def test_an_id_cannot_come_to_mean_another_replica() -> None:
    desired = Desired(replicas={"digits-1": SPEC})
    desired.check([StartReplica(spec=SPEC)])
    other = ReplicaSpec(replica_id="digits-1", model="digits", version="other", runtime="onnx")
    with pytest.raises(UnavailableError, match="runs another spec already"):
        desired.check([StartReplica(spec=other)])


@given(st.lists(st.tuples(st.floats(0, 2 * CALM_S), st.booleans()), max_size=60))
def test_backoff_is_bounded_and_never_hurries_within_a_row(deaths: list[tuple[float, bool]]) -> None:
    backoff, before_s = Backoff(), 0.0
    for ready_for_s, at_once in deaths:
        wait_s = backoff.next_s(ready_for_s=ready_for_s, at_once=at_once)
        assert 0.0 <= wait_s <= LONGEST_S
        assert wait_s >= before_s or ready_for_s >= CALM_S
        before_s = wait_s


@pytest.mark.parametrize(
    ("at_once", "waits_s"),
    [
        pytest.param(True, [0.0, 0.2, 0.4, 0.8, 1.6], id="a death: at once, then later and later"),
        pytest.param(False, [0.2, 0.4, 0.8, 1.6, 3.2], id="a failed load will fail again: never at once"),
    ],
)
def test_backoff(at_once: bool, waits_s: list[float]) -> None:
    backoff = Backoff()
    assert [backoff.next_s(ready_for_s=1.0, at_once=at_once) for _ in waits_s] == waits_s


@pytest.mark.parametrize(
    ("path", "status", "ready"),
    [
        pytest.param("/healthz", 200, True, id="healthy"),
        pytest.param("/healthz", 307, True, id="redirects"),
        pytest.param("/healthz", 404, False, id="a path somebody named must exist"),
        pytest.param("/healthz", 503, False, id="not yet"),
        pytest.param("/", 404, True, id="nobody promised that / exists: the server is up"),
        pytest.param("/", 500, False, id="a server error is not an answer"),
    ],
)
def test_ready(path: str, status: int, ready: bool) -> None:
    assert counts_as_ready(path, status) is ready


@pytest.mark.parametrize(
    ("status", "words"),
    [
        pytest.param(9, "signal 9", id="killed"),
        pytest.param(11 | 128, "signal 11", id="core dumped"),
        pytest.param(3 << 8, "exit 3", id="exited"),
    ],
)
def test_exit_words(status: int, words: str) -> None:
    assert words_of_status(status) == words


@pytest.mark.parametrize(
    ("counts", "words", "explained"),
    [
        pytest.param([5, 6], "signal 9", "out of memory", id="the kernel ended something"),
        pytest.param([5, 5], "signal 9", "signal 9", id="somebody else did"),
        pytest.param([5, 6], "signal 11", "signal 11", id="another signal is not the kernel's"),
        pytest.param([5, 6], None, None, id="unknown stays unknown"),
    ],
)
def test_out_of_memory(counts: list[int], words: str | None, explained: str | None) -> None:
    readings = iter(counts)
    assert OomWatch(lambda: next(readings)).explain(words) == explained


@pytest.mark.parametrize(
    ("message", "event"),
    [
        pytest.param({"event": "cold", "model": "m"}, Event(kind=EventKind.COLD, model="m"), id="cold"),
        pytest.param(
            {"event": "replica", "replica_id": "r", "model": "m", "state": "failed", "detail": "why"},
            Event(kind=EventKind.REPLICA, model="m", replica_id="r", detail="failed: why"),
            id="replica",
        ),
        pytest.param(
            {"event": "repository", "model": "m", "detail": "load"},
            Event(kind=EventKind.REPOSITORY, model="m", detail="load"),
            id="repository",
        ),
        pytest.param({"event": "sneeze"}, None, id="of a later version"),
    ],
)
def test_events(message: Message, event: Event | None) -> None:
    assert event_of(message) == event


def test_one_limit_on_bodies_for_both_fronts() -> None:
    folder = Path("/s")
    arguments = parse(["--state-dir=/s", "--grpc-port=0", "--gateway-argument=--max-body-bytes=8MiB",
                       "--gateway-argument=--drain-s=1"])  # fmt: skip
    command = grpc_command(arguments, Folders(run_dir=folder, state_dir=folder))
    assert command is not None
    assert command.argv(1)[-1] == "--max-body-bytes=8MiB"
    assert not any("drain" in each for each in command.argv(1))
