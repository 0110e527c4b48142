"""NVIDIA Dynamo's planner for one aggregated component: a forecast sets a floor, load moves by one.

Source: ai-dynamo 1.6.1, dynamo/planner/core ("easy" mode for decode engines). Concurrency stands for key/value tokens.
Differences: the default ARIMA forecast is not reproduced, ``Predictor`` offers the planner's two simpler ones; engines
are taken to share the load evenly when no samples of single replicas are given.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from sizewise.core.policies.base import Observation, Step, require
from sizewise.core.reasons import because


class Predictor(StrEnum):
    """How the next interval's requests are forecast."""

    CONSTANT = "constant"
    """As in the last interval."""
    KALMAN = "kalman"
    """Local linear trend, filtered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamoConfig:
    """The planner's settings, and what the profile of an engine says."""

    engine_concurrency: float = 64.0
    """Requests in flight that fill one engine. It comes from a profile; 64 is our stand-in."""
    engine_per_s: float = 1.0
    """Best rate of one engine within the latency goals. It comes from a profile; 1 is our stand-in."""
    min_replicas: int = 1
    """``min_endpoint``; 0 permits zero."""
    devices_per_replica: int = 1
    """Accelerators of one engine."""
    most_devices: int | None = 8
    """``max_gpu_budget``; None: no budget."""
    up_at: float = 1.0
    """An engine above this share of its capacity asks for one more (``throughput``; 0.4 for ``latency``)."""
    down_at: float = 0.6
    """All engines below this share ask for one fewer (``throughput``; 0.1 for ``latency``)."""
    most_change: int = 8
    """Most replicas that one forecast may add or remove (``max_throughput_scaling_replicas``)."""
    predictor: Predictor = Predictor.KALMAN
    """Which of its simpler forecasts stands for ARIMA."""
    load_interval_s: float = 5.0
    """Seconds between decisions by load."""
    forecast_interval_s: float | None = 180.0
    """Seconds between forecasts, and their horizon whatever the load time; None: no floor."""

    def __post_init__(self) -> None:
        require(self, least=0, min_replicas=self.min_replicas)
        require(self, least=1, devices_per_replica=self.devices_per_replica, most_devices=self.most_devices)
        require(self, least=1e-9, engine_concurrency=self.engine_concurrency, engine_per_s=self.engine_per_s)
        require(self, least=1e-9, load_interval_s=self.load_interval_s, forecast_interval_s=self.forecast_interval_s)

    def within_budget(self, replicas: int) -> int:
        """No fewer than the minimum, and no more than the devices carry."""
        most = replicas if self.most_devices is None else self.most_devices // self.devices_per_replica
        return min(max(replicas, self.min_replicas), most)


@dataclass(frozen=True, slots=True)
class DynamoState:
    """Requests by interval, the one being gathered, and the floor."""

    begun_s: float
    gathered: float = 0.0
    past: tuple[float, ...] = ()
    """Requests of the intervals gone by, without the leading ones that had none."""
    floor: int = 0


def dynamo_start(config: DynamoConfig, observation: Observation) -> DynamoState:
    """Begins an interval now."""
    return DynamoState(observation.now_s, floor=config.min_replicas)


def dynamo_interval_s(config: DynamoConfig, state: DynamoState) -> float:  # noqa: ARG001 - the common form
    """Fixed."""
    return config.load_interval_s


def dynamo_step(config: DynamoConfig, observation: Observation, state: DynamoState) -> Step[DynamoState]:
    """One decision by load, over the floor of the last forecast. While anything starts it only ever shrinks."""
    state = _forecast(config, observation, state)
    cur = observation.spec
    if observation.live != cur:
        return Step(max(cur, state.floor), state, because("dynamo_in_progress"))
    utilizations = _utilizations(config, observation)
    change = easy(config, utilizations)
    if observation.loading > 0:
        change = min(change, 0)
    desired = config.within_budget(max(cur + change, state.floor))
    highest = max(utilizations, default=0.0)
    return Step(desired, state, because("dynamo", highest=highest, change=change, floor=state.floor))


def easy(config: DynamoConfig, utilizations: Sequence[float]) -> int:
    """+1 when any engine is above ``up_at``; -1 when all are below ``down_at`` and would stay below ``up_at``."""
    ready = len(utilizations)
    if ready == 0:
        return 0
    if max(utilizations) > config.up_at:
        return 1
    if max(utilizations) >= config.down_at or ready <= config.min_replicas:
        return 0
    safe = ready == 1 or max(utilizations) * ready / (ready - 1) < config.up_at
    return -1 if safe else 0


def _utilizations(config: DynamoConfig, observation: Observation) -> tuple[float, ...]:
    own = tuple(r.concurrency for r in observation.replicas if r.ready and r.concurrency is not None)
    if own:
        return tuple(concurrency / config.engine_concurrency for concurrency in own)
    each = observation.concurrency / max(1, observation.ready) / config.engine_concurrency
    return (each,) * observation.ready


def _forecast(config: DynamoConfig, observation: Observation, state: DynamoState) -> DynamoState:
    gathered = state.gathered + observation.arrivals
    elapsed_s = observation.now_s - state.begun_s
    if config.forecast_interval_s is None or elapsed_s < config.forecast_interval_s:
        return replace(state, gathered=gathered)
    per_s = gathered / elapsed_s
    past = (*state.past, per_s)[-64:] if state.past or per_s > 0 else ()
    wish = math.ceil(predicted(config.predictor, past) / config.engine_per_s)
    bounded = min(max(wish, observation.spec - config.most_change), observation.spec + config.most_change)
    return DynamoState(observation.now_s, past=past, floor=config.within_budget(bounded))


def predicted(predictor: Predictor, past: Sequence[float]) -> float:
    """The next value of a series, at least 0. Below five values the Kalman filter repeats the last one.

    Local linear trend with q = 1 for the level, 0.1 for the trend, and r = 10 for the measurement, as in the planner.
    """
    if not past:
        return 0.0
    if predictor is Predictor.CONSTANT or len(past) < 5:
        return max(0.0, past[-1])
    level, trend = past[0], 0.0
    p00, p01, p11 = 1.0, 0.0, 1.0
    for value in past[1:]:
        level += trend
        p00, p01, p11 = p00 + 2 * p01 + p11 + 1.0, p01 + p11, p11 + 0.1
        gain0, gain1 = p00 / (p00 + 10.0), p01 / (p00 + 10.0)
        error = value - level
        level, trend = level + gain0 * error, trend + gain1 * error
        p00, p01, p11 = (1 - gain0) * p00, (1 - gain0) * p01, p11 - gain1 * p01
    return max(0.0, level + trend)
