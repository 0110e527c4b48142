"""Replicas and damaged forms: whatever is wrong with one, the model is answered for."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from sizewise.core.forms import MAPPED, PACKED
from sizewise.demo.onnx_files import write_random_mlp
from sizewise.protocols.frames import Frame, Kind
from sizewise.runtimes import ModelFiles
from sizewise.runtimes.onnx_form import ENTRY, WEIGHTS, make_packed
from tests.e2e.warm_replicas import Client, Warm, warm

TARGET = "m@1"
X = np.random.default_rng(3).standard_normal((2, 64), dtype=np.float32)


@pytest.fixture(scope="module")
def parent() -> Iterator[Warm]:
    with warm("onnx") as started:
        yield started


@pytest.fixture
def form(tmp_path: Path) -> Path:
    """Of ``tmp_path/m.onnx``, where a form lies."""
    write_random_mlp(tmp_path / "m.onnx", (64, 512, 512, 10), seed=7)
    folder = tmp_path / "forms" / "hash" / "key"
    folder.mkdir(parents=True)
    make_packed(ModelFiles(path=tmp_path, entry="m.onnx"), folder)
    return folder


def load(client: Client, folder: Path, form: Path | None) -> dict[str, Any]:
    named = None if form is None else {"name": PACKED, "path": str(form), "entry": ENTRY}
    report = client.load(TARGET, "onnx", folder, "m.onnx", max_batch=2, form=named)
    assert report.status == 200, report.body
    answer: dict[str, Any] = orjson.loads(report.body)
    return answer


def settled(client: Client) -> dict[str, Any]:
    frame = client.next()
    assert frame.kind == Kind.SETTLED
    answer: dict[str, Any] = orjson.loads(frame.body)
    return answer


def infer(client: Client) -> list[float]:
    tensor = {"name": "x", "shape": list(X.shape), "datatype": "FP32", "data": X.reshape(-1).tolist()}
    answer: Frame = client.ask(client.infer(TARGET, {"inputs": [tensor]}))
    assert answer.status == 200, answer.body
    found: list[float] = orjson.loads(answer.body)["outputs"][0]["data"]
    return found


def test_a_second_session_that_cannot_be_opened_leaves_the_first(parent: Warm, tmp_path: Path, form: Path) -> None:
    parent.fork("first")
    turn = os.open(tmp_path / "forms", os.O_RDONLY)
    fcntl.flock(turn, fcntl.LOCK_EX)  # so that it is damaged after the first session is open, and before the second
    with parent.client("first") as client:
        report = load(client, tmp_path, form)
        assert (report["stage"], report["settled"]) == (MAPPED, False)
        before = infer(client)
        (form / ENTRY).write_bytes(b"damaged")
        os.close(turn)
        assert settled(client)["stage"] == MAPPED
        assert infer(client) == before
    assert "stays with the session that it has" in (parent.folder / "m.log").read_text()


def test_a_form_that_is_cut_off_is_passed_over(parent: Warm, tmp_path: Path, form: Path) -> None:
    os.truncate(form / WEIGHTS, (form / WEIGHTS).stat().st_size - 4096)
    parent.fork("whole")
    with parent.client("whole") as client:
        report = load(client, tmp_path, form)
        assert (report["stage"], report["settled"]) == ("", True)
        infer(client)


def test_a_running_replica_takes_up_a_form_once(parent: Warm, tmp_path: Path, form: Path) -> None:
    parent.fork("running")
    with parent.client("running") as client:
        assert load(client, tmp_path, None)["stage"] == ""
        before = infer(client)
        assert load(client, tmp_path, form)["settled"] is False
        assert settled(client)["stage"] == PACKED
        assert np.allclose(infer(client), before, rtol=1e-5, atol=1e-6 * max(1.0, np.abs(before).max()))
        again = load(client, tmp_path, form)
        assert (again["stage"], again["settled"]) == (PACKED, True)


def test_a_running_replica_goes_on_when_a_form_is_damaged(parent: Warm, tmp_path: Path, form: Path) -> None:
    (form / ENTRY).write_bytes(b"damaged")
    parent.fork("unmoved")
    with parent.client("unmoved") as client:
        load(client, tmp_path, None)
        before = infer(client)
        assert load(client, tmp_path, form)["settled"] is False
        assert settled(client)["stage"] == ""
        assert infer(client) == before
