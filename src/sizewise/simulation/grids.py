"""The settings that autoscalers are tuned over, from ``grids.toml``."""

import itertools
import tomllib
from collections.abc import Mapping
from importlib.resources import files

from sizewise.simulation.scenario import Mode, PolicyChoice

Values = Mapping[str, float | int]


def grid_of(name: str) -> list[Values]:
    """Every combination, the first key slowest."""
    axes = _grids()[name]
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def tuned_names() -> tuple[str, ...]:
    return tuple(_grids())


def choice_of(name: str, values: Values) -> PolicyChoice:
    """One point; its ``target`` is a factor on that which is calibrated for each model."""
    parameters: dict[str, float | int | str] = {key: value for key, value in values.items() if key != "target"}
    return PolicyChoice(name=name, mode=Mode.TUNED, parameters=parameters, target_factor=values.get("target", 1.0))


def _grids() -> Mapping[str, Mapping[str, list[float | int]]]:
    return tomllib.loads((files("sizewise.simulation") / "grids.toml").read_text(encoding="utf-8"))
