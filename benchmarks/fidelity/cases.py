"""What is replayed: models that wait or compute, the traffic of each, and the machine that all of them share."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sizewise.core.fleet import ScalingPolicy
from sizewise.core.slo import Slo
from sizewise.core.units import MIB
from sizewise.demo.onnx_files import write_random_mlp
from sizewise.loadgen.schedule import Schedule, Step, due_times

SEED = 7
WIDTH = 4
"""Numbers in a row of a paced model's input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One model and its traffic."""

    name: str
    file: str
    write: Callable[[Path], None]
    columns: int
    """Numbers in a row of its input."""
    slo: Slo
    scaling: ScalingPolicy = field(default_factory=ScalingPolicy)
    steps: tuple[tuple[float, float], ...] = ()
    """(share of the time, requests per second from then on)."""

    def schedule(self, seconds: float) -> Schedule:
        steps = tuple(Step(share * seconds, rate) for share, rate in self.steps)
        return Schedule(steps=steps, seconds=seconds, seed=zlib.crc32(self.name.encode()))

    def due_s(self, seconds: float) -> list[float]:
        return list(due_times(self.schedule(seconds)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Models that share one machine."""

    name: str
    minutes: float
    subjects: tuple[Subject, ...]
    pilot: Subject
    """Asked before time begins, and taken away: whatever is imported once has been."""
    cpus: float
    """As the controller is told. Paced models need none, so they may be told of more than there are."""
    load_slots: int
    memory_bytes: int
    """For all of them and for Sizewise itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a paced model passes the time."""

    load_s: float
    service_s: float
    """Mean of one row."""
    more_s: float = 0.0
    """Mean of each further row of a batch; 0: the model takes one row at a time."""
    cv: float = 0.3
    memory_bytes: int

    def write(self, path: Path) -> None:
        rows = -1 if self.more_s else 1
        text = _PACED.format(
            rows=rows,
            width=WIDTH,
            memory_bytes=self.memory_bytes,
            load_s=self.load_s,
            service_s=self.service_s,
            more_s=self.more_s,
            cv=self.cv,
        )
        path.write_text(text)


_PACED = '''"""Holds memory, and waits where a model would load and compute."""

import math
import random
import time

import numpy as np

INPUTS = [{{"name": "x", "datatype": "FP32", "shape": [{rows}, {width}]}}]
OUTPUTS = [{{"name": "y", "datatype": "FP32", "shape": [{rows}, {width}]}}]
SIGMA = math.sqrt(math.log1p({cv} ** 2))


def load():
    began_s = time.monotonic()
    held = np.ones({memory_bytes}, np.uint8)
    time.sleep(max(0.0, {load_s} - (time.monotonic() - began_s)))
    return held


def predict(model, inputs):
    mean_s = {service_s} + {more_s} * (len(inputs["x"]) - 1)
    time.sleep(mean_s * random.lognormvariate(-(SIGMA**2) / 2, SIGMA))
    return {{"y": inputs["x"]}}
'''


def paced(*, faster: float = 1.0) -> Case:
    """Four services: one that rises and falls, one in bursts, one that is there or not, and a rare large one.

    ``faster`` divides every load time, so that a test sees in seconds what a run sees in minutes.
    """
    goal, mib = 0.95, MIB

    def one(name: str, pace: Pace, *, slo_s: float, most: int, steps: tuple[tuple[float, float], ...]) -> Subject:
        return Subject(
            name=name,
            file=f"{name}.py",
            write=pace.write,
            columns=WIDTH,
            slo=Slo(goal, slo_s),
            scaling=ScalingPolicy(max_replicas=most),
            steps=steps,
        )

    wave = ((0.0, 3.0), (0.1, 10.0), (0.2, 25.0), (0.3, 50.0), (0.45, 15.0), (0.6, 4.0), (0.75, 20.0))
    bursts = ((0.0, 1.0), (0.25, 26.0), (0.33, 1.0), (0.7, 26.0), (0.78, 1.0))
    visits = ((0.0, 5.0), (0.25, 0.0), (0.35, 40.0), (0.5, 0.0), (0.8, 20.0))
    rare = ((0.0, 0.0), (0.1, 0.5), (0.15, 0.0), (0.4, 0.5), (0.45, 0.0), (0.72, 0.5), (0.77, 0.0))
    chat = Pace(load_s=4 / faster, service_s=0.08, more_s=0.025, memory_bytes=120 * mib)
    burst = Pace(load_s=6 / faster, service_s=0.15, memory_bytes=160 * mib)
    small = Pace(load_s=1 / faster, service_s=0.03, memory_bytes=40 * mib)
    giant = Pace(load_s=10 / faster, service_s=0.4, memory_bytes=640 * mib)
    pilot = Pace(load_s=0.01, service_s=0.001, memory_bytes=mib)
    return Case(
        name="paced",
        minutes=15.0,
        subjects=(
            one("chat", chat, slo_s=0.5, most=6, steps=wave),
            one("burst", burst, slo_s=0.9, most=8, steps=bursts),
            one("small", small, slo_s=0.25, most=4, steps=visits),
            one("giant", giant, slo_s=2.0, most=2, steps=rare),
        ),
        pilot=one("pilot", pilot, slo_s=1.0, most=1, steps=()),
        cpus=16.0,
        load_slots=4,
        memory_bytes=1900 * mib,
    )


def compute() -> Case:
    """Two networks of a few milliseconds a row that take turns on the cores there are."""

    def one(name: str, sizes: tuple[int, ...], *, slo_s: float, steps: tuple[tuple[float, float], ...]) -> Subject:
        return Subject(
            name=name,
            file=f"{name}.onnx",
            write=lambda path: write_random_mlp(path, sizes, seed=SEED),
            columns=sizes[0],
            slo=Slo(0.95, slo_s),
            scaling=ScalingPolicy(max_replicas=2),
            steps=steps,
        )

    return Case(
        name="compute",
        minutes=5.0,
        subjects=(
            one("wide", (512, *(2048,) * 5, 16), slo_s=0.1, steps=((0.0, 10.0), (0.3, 50.0), (0.6, 10.0))),
            one("deep", (256, *(1024,) * 9, 16), slo_s=0.05, steps=((0.0, 20.0), (0.2, 0.0), (0.5, 60.0), (0.8, 5.0))),
        ),
        pilot=one("pilot", (16, 16), slo_s=1.0, steps=()),
        cpus=2.0,
        load_slots=1,
        memory_bytes=1200 * MIB,
    )
