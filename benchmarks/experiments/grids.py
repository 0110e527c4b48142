"""The settings that autoscalers are tuned over, from ``grids.toml``."""

import itertools
import tomllib
from collections.abc import Mapping
from pathlib import Path

from sizewise.simulation.calibrating import targets
from sizewise.simulation.scenario import Mode, PolicyChoice, SimModel

FILE = Path(__file__).with_name("grids.toml")
Values = Mapping[str, float | int]


def grid_of(name: str) -> list[Values]:
    """Every combination, the first key slowest."""
    axes = tomllib.loads(FILE.read_text())[name]
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def tuned_names() -> tuple[str, ...]:
    return tuple(tomllib.loads(FILE.read_text()))


def choice_of(name: str, values: Values, model: SimModel) -> PolicyChoice:
    """One point for a scenario whose models are all like this one: a target is a factor on the calibrated one."""
    parameters: dict[str, float | int | str] = dict(values)
    if "target" in parameters:
        # What a target is called differs: it is what calibration sets first
        key, calibrated = next(iter(targets(name, model).items()))
        parameters[key] = parameters.pop("target") * calibrated  # type: ignore[operator]  # both are numbers
    return PolicyChoice(name=name, mode=Mode.TUNED, parameters=parameters)
