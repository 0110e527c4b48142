"""The scenarios of ``benchmarks/scenarios.toml`` as values, each with a part to tune on and a part to judge by."""

import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sizewise.core.slo import Slo
from sizewise.simulation.generators import fitted
from sizewise.simulation.modelling import inline
from sizewise.simulation.scenario import Capacity, Generator, Loading, Scenario, SimModel, TraceSource
from sizewise.simulation.spread import constant

FILE = Path(__file__).parents[1] / "scenarios.toml"
HOUR_S = 3600.0
SLOTS = 400
"""More than any scenario needs: what is compared is cost, not a cap."""
WARM_UP_S = 600.0
"""Everybody begins with one replica; how that is got over is not what is compared."""
SIZE_BYTES_PER_S = 1e9
"""Loads read so much: memory of a model that loads for so many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    name: str
    load_s: float
    seed: int
    train: Scenario
    evaluate: Scenario
    model: SimModel
    """The one that targets are calibrated from: in a catalogue, that of the median load."""

    @property
    def key(self) -> str:
        return f"{self.name} load {self.load_s:g} s seed {self.seed}"


def model_like(
    service_s: float, *, cv: float, load_s: float, goal_s: float, quantile: float = 0.99, queue: int = 50
) -> SimModel:
    """Memory follows from the load time, so that what loads slowly is large."""
    made = inline(((1, service_s),), cv=cv, shape="lognormal", memory_bytes=int(load_s * SIZE_BYTES_PER_S))
    loading = Loading(load=constant(load_s))
    profile = replace(made.profile, load=replace(made.profile.load, load_s=load_s))
    slo = Slo(quantile=quantile, latency_s=goal_s)
    return replace(made, profile=profile, loading=loading, slo=slo, max_queue=queue)


def with_quantile(scenario: Scenario, quantile: float) -> Scenario:
    """The same latency asked for more or less often: the one thing that a user of Sizewise sets."""
    models = {
        name: replace(model, slo=replace(model.slo, quantile=quantile) if model.slo else None)
        for name, model in scenario.models.items()
    }
    return replace(scenario, models=models)


def cases(folder: Path | None) -> Iterator[Case]:
    """All of them; without a folder of traces, those that need none."""
    found = tomllib.loads(FILE.read_text())
    for seed in found["seeds"]:
        for load_s in found["load_s"]:
            if folder is not None:
                for name, told in found["trace"].items():
                    yield _traced(name, told, folder=folder, load_s=load_s, seed=seed)
            for name, told in found["catalogue"].items():
                yield _catalogue(name, told, load_s=load_s, seed=seed)


def _traced(name: str, told: Mapping[str, Any], *, folder: Path, load_s: float, seed: int) -> Case:
    model = _model(told, load_s)

    def part(hours: tuple[float, float]) -> Scenario:
        source = TraceSource(
            path=folder / told["file"],
            scale=told["scale"],
            from_s=hours[0] * HOUR_S,
            to_s=hours[1] * HOUR_S,
            names=tuple(told.get("models", ())),
        )
        return scenario_of(name, source, {"*": model}, seed=seed)

    train, evaluate = part(told["train_h"]), part(told["evaluate_h"])
    return Case(name=name, load_s=load_s, seed=seed, train=train, evaluate=evaluate, model=model)


def _catalogue(name: str, told: Mapping[str, Any], *, load_s: float, seed: int) -> Case:
    models = {
        each: _model(told, seconds)
        for each, seconds in zip(
            names_of(told["models"]), spread_loads(load_s, told["spread"], told["models"], seed=seed), strict=True
        )
    }
    generator = replace(
        fitted("zipf"), **{key: told[key] for key in ("models", "rate_per_s", "exponent", "on_s", "off_s")}
    )

    def part(hours: float, *, seed: int) -> Scenario:
        return scenario_of(name, replace(generator, duration_s=hours * HOUR_S), models, seed=seed)

    # Arrivals that are made up are made up anew: another seed is another slice
    train, evaluate = part(told["train_h"], seed=1000 + seed), part(told["evaluate_h"], seed=seed)
    return Case(name=name, load_s=load_s, seed=seed, train=train, evaluate=evaluate, model=_model(told, load_s))


def _model(told: Mapping[str, Any], load_s: float) -> SimModel:
    return model_like(told["service_ms"] / 1000, cv=told["cv"], load_s=load_s, goal_s=told["p99_ms"] / 1000)


def scenario_of(
    name: str, source: TraceSource | Generator, models: Mapping[str, SimModel], *, seed: int, slots: int = SLOTS
) -> Scenario:
    return Scenario(
        file=name,
        source=source,
        models=models,
        capacity=Capacity(replicas=slots),
        policies=(),
        warmup_s=WARM_UP_S,
        seed=seed,
    )


def names_of(models: int) -> list[str]:
    """As generated arrivals name them."""
    width = len(str(models - 1))
    return [f"model-{i:0{width}d}" for i in range(models)]


def spread_loads(median_s: float, spread: float, models: int, *, seed: int) -> list[float]:
    """Evenly on the logarithm, the longest ``spread`` times the shortest, in an order by chance."""
    half = math.sqrt(spread)
    loads = np.geomspace(median_s / half, median_s * half, models)
    np.random.default_rng((seed, 41)).shuffle(loads)
    return [float(each) for each in loads]
