"""The whole demonstration: build, weigh, start, load, watch, report."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sizewise import api
from sizewise.core.profiles import ModelProfile
from sizewise.demo.load import Outcome, calls_of, replay
from sizewise.demo.models import MODELS, SEED, DemoModel
from sizewise.demo.report import Report, make_report
from sizewise.demo.timeline import Moment, Timeline
from sizewise.demo.traffic import arrivals
from sizewise.protocols.errors import UnavailableError

MEMORY = "1600MiB"
"""The budget of models and of Sizewise itself: less than one replica of each model takes."""
CPUS = 2
SAMPLE_S = 1.0
SETTLE_S = 2.0
"""After the last answer, so that the last second's counts have been read."""

Watch = Callable[[Moment], None]


@dataclass(slots=True, kw_only=True)
class Run:
    """Load being replayed against a running system, with what it has shown so far."""

    seconds: float
    weighed: Mapping[str, ModelProfile]
    """What was measured beforehand, by model."""
    models: tuple[DemoModel, ...] = MODELS
    seed: int = SEED
    timeline: Timeline = field(default_factory=Timeline)
    outcomes: list[Outcome] = field(default_factory=list)
    lasted_s: float = 0.0
    """Until the last answer had been counted: a little more than ``seconds``, and more on a machine that is late."""

    async def go(self, client: api.Client, watch: Watch) -> dict[str, Any]:
        """Replay the traffic; the system's status at the end."""
        plan = arrivals(self.seconds, self.seed, {model.name for model in self.models})
        first = await asyncio.to_thread(client.status)
        url, started_s = first["data_url"], time.monotonic()
        watcher = asyncio.create_task(self._watch(client, watch, len(plan)))
        try:
            await replay(plan, calls_of(self.models, self.seed), url=url, done=self.outcomes.append)
        finally:
            watcher.cancel()
        await asyncio.sleep(SETTLE_S)
        last = await asyncio.to_thread(client.status)
        self.lasted_s = time.monotonic() - started_s
        return last

    async def _watch(self, client: api.Client, watch: Watch, total: int) -> None:
        started_s = time.monotonic()
        while True:
            # Silent for seconds on a busy machine: the next look shows what this one would have
            with contextlib.suppress(UnavailableError):
                status = await asyncio.to_thread(client.status)
                watch(self._moment(status, time.monotonic() - started_s, total))
            await asyncio.sleep(SAMPLE_S)

    def _moment(self, status: dict[str, Any], at_s: float, total: int) -> Moment:
        for model in status["models"]:
            counts = model["replicas"]
            self.timeline.add(at_s, model["name"], ready=counts["ready"], loading=counts["loading"])
        answered = sum(outcome.answered for outcome in self.outcomes)
        return Moment(
            status=status, timeline=self.timeline, at_s=at_s, seconds=self.seconds, answered=answered, total=total
        )

    def report(self, status: dict[str, Any]) -> Report:
        return make_report(self, status)


def write_spec(folder: Path, models: tuple[DemoModel, ...]) -> Path:
    """``sizewise.yaml`` of the demo beside its models: a spec like any user's."""
    spec = {
        "project": "demo",
        "models": {model.name: _entry(folder, model) for model in models},
        "machine": {"cpus": CPUS, "memory": MEMORY},
        "serving": {"host": "127.0.0.1", "port": 0, "admin_port": 0},
    }
    path = folder / "sizewise.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    return path


def _entry(folder: Path, model: DemoModel) -> dict[str, Any]:
    scaling = {"min_replicas": 0, "max_replicas": model.max_replicas, "priority": model.priority}
    entry: dict[str, Any] = {"slo": {"p95_ms": model.slo_p95_ms}, "scaling": scaling}
    if model.command:
        script = (folder / "models" / model.uri).absolute()
        command = {"command": [sys.executable, str(script), "{port}"], "ready": {"path": "/healthz", "timeout_s": 60}}
        return {**command, **entry}
    return {"uri": f"models/{model.uri}", **entry}


def write_report(report: Report, path: Path) -> None:
    from sizewise.protocols.serde import to_jsonable

    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(to_jsonable(report), indent=1) + "\n")
    partial.replace(path)
