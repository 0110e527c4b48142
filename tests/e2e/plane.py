"""A data plane of real processes for one test, and what a test needs to wait for it and to see that it is gone."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper

from sizewise.backends.local.backend import LocalBackend
from sizewise.backends.local.launch import Hello, KeeperInfo, KeeperOptions, stop_everything
from sizewise.backends.local.processes import Process
from sizewise.core.fleet import ReplicaState
from sizewise.core.tensors import TensorSpec
from sizewise.protocols.backend import (
    CommandSpec,
    ModelRoute,
    PublishModel,
    ReplicaObserved,
    ReplicaSpec,
    Snapshot,
    StartReplica,
    StopReplica,
)

INPUTS = (TensorSpec(name="x", datatype="FP32", shape=(-1, 4)),)
OUTPUTS = (TensorSpec(name="y", datatype="FP32", shape=(-1, 4)),)
UNTIL_S = 120.0


class Plane:
    """One state folder with what runs for it. Use as ``async with Plane() as plane``."""

    def __init__(self, *, port: int = 0, grpc_port: int | None = None, hello: Hello | None = None) -> None:
        # Short, as a socket's path has at most 107 bytes
        self.state_dir = Path(tempfile.mkdtemp(prefix="sizewise-"))
        self.options = KeeperOptions(state_dir=self.state_dir, port=port, grpc_port=grpc_port)
        self.hello = hello
        self.backend = LocalBackend(self.options, hello=hello)
        self._news = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Plane":
        await self.backend.connect()
        self._listening = asyncio.ensure_future(self._listen(self.backend))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_listening()
        self.backend.close()
        await stop_everything(self.state_dir, 2.0)
        left = self.living()
        for each in left:
            each.kill()
        shutil.rmtree(self.state_dir, ignore_errors=True)
        assert not left, f"left behind: {left}"

    @property
    def info(self) -> KeeperInfo:
        assert self.backend.info is not None
        return self.backend.info

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.info.port}"

    def living(self) -> list[psutil.Process]:
        """Every process that names this state folder or was started in it, this test's own excluded."""
        mark, found = str(self.state_dir), []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.cmdline())
                if (mark in words or process.cwd() == mark) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return [process for process in found if process.pid != os.getpid()]

    async def until(self, wanted: Callable[[Snapshot], Any], *, within_s: float = UNTIL_S) -> Snapshot:
        """The first snapshot that is as ``wanted``; looks whenever something changes, and four times a second."""
        snapshot = None
        try:
            async with asyncio.timeout(within_s):
                while True:
                    self._news.clear()
                    snapshot = await self.backend.observe()
                    if wanted(snapshot):
                        return snapshot
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), 0.25)
        except TimeoutError:
            log = (self.state_dir / "logs" / "keeper.log").read_text()
            raise AssertionError(f"not within {within_s:g} s; last seen: {snapshot}\n{log[-3000:]}") from None

    async def ready(self, *ids: str) -> dict[str, ReplicaObserved]:
        """Wait until these replicas are ready."""
        return by_id(await self.until(lambda seen: all(is_ready(seen, each) for each in ids)))

    async def reborn(self, replica_id: str, pid: int | None) -> ReplicaObserved:
        """Wait until the replica is ready again as another process."""
        seen = await self.until(lambda seen: is_ready(seen, replica_id) and by_id(seen)[replica_id].pid != pid)
        return by_id(seen)[replica_id]

    async def pid_of(self, role: str) -> int:
        seen = await self.until(lambda seen: any(each.role == role for each in seen.processes))
        return next(each.pid for each in seen.processes if each.role == role)

    async def kill(self, pid: int) -> None:
        """SIGKILL, and wait until it has ended."""
        process = Process(pid)
        process.kill()
        await asyncio.wait_for(process.exited.wait(), 10)

    async def stop(self, replica_id: str) -> None:
        """Drain a replica, and wait until it is gone."""
        await self.backend.apply([StopReplica(replica_id=replica_id, drain_s=10.0)])
        await self.until(lambda seen: replica_id not in by_id(seen))

    async def serve(self, model: str, *ids: str) -> dict[str, ReplicaObserved]:
        """Publish a small ONNX model and have these replicas of it ready."""
        starts = [StartReplica(spec=self.onnx(model, each)) for each in ids]
        await self.backend.apply([publish(model), *starts])
        return await self.ready(*ids)

    def onnx(self, model: str, replica_id: str) -> ReplicaSpec:
        folder = self.state_dir / "store" / model
        if not folder.exists():
            folder.mkdir(parents=True)
            onnx.save(doubling(), str(folder / "model.onnx"))
        return ReplicaSpec(
            replica_id=replica_id,
            model=model,
            version="1",
            runtime="onnx",
            path=str(folder),
            entry="model.onnx",
            max_batch=8,
            inputs=INPUTS,
            outputs=OUTPUTS,
        )

    async def forget_backend(self) -> None:
        """As if the controller had died: nobody starts a keeper any more."""
        await self._stop_listening()
        self.backend.close()

    async def new_backend(self) -> None:
        """As the next controller."""
        await self.forget_backend()
        self.backend = LocalBackend(self.options, hello=self.hello)
        await self.backend.connect()
        self._listening = asyncio.ensure_future(self._listen(self.backend))

    async def _listen(self, backend: LocalBackend) -> None:
        async for _ in backend.events():
            self._news.set()

    async def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None


def by_id(seen: Snapshot) -> dict[str, ReplicaObserved]:
    return {replica.replica_id: replica for replica in seen.replicas}


def is_ready(seen: Snapshot, replica_id: str) -> bool:
    replica = by_id(seen).get(replica_id)
    return replica is not None and replica.state is ReplicaState.READY


def publish(model: str, **changes: Any) -> PublishModel:
    fields = {"platform": "onnx_onnxv1", "runtime": "onnx", "inputs": INPUTS, "outputs": OUTPUTS, **changes}
    return PublishModel(route=ModelRoute(model=model, version="1", **fields))


def doubling() -> onnx.ModelProto:
    """y = 2 x, over rows of four."""
    weights = numpy_helper.from_array(2 * np.eye(4, dtype=np.float32), "w")
    rows: list[str | int | None] = ["rows", 4]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, rows)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, rows)],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def command(replica_id: str, *argv: str, model: str = "legacy", **changes: Any) -> StartReplica:
    """A server of one's own: this Python with these arguments."""
    spec = CommandSpec(argv=(sys.executable, *argv), **changes)
    return StartReplica(
        spec=ReplicaSpec(replica_id=replica_id, model=model, version="1", runtime="command", command=spec)
    )


@contextlib.asynccontextmanager
async def bystander() -> AsyncIterator[Process]:
    """A process that has nothing to do with us and lives until it is killed."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import signal; signal.pause()")
    process = Process(child.pid)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGKILL)
        await child.wait()
