"""AIBrix's APA strategy.

Source: vllm-project/aibrix e3e10f9, before its guard against pending replicas. The present number counts replicas that
are still loading, so it compounds while they load: 2, 4, 8, 16 (vllm-project/aibrix#2670).
"""

import math
from dataclasses import dataclass

from sizewise.core.policies.base import Observation, Step, clip, require, require_bounds
from sizewise.core.policies.windows import EMPTY, Window, mean, record
from sizewise.core.reasons import because


@dataclass(frozen=True, slots=True, kw_only=True)
class ApaConfig:
    """One PodAutoscaler with strategy APA."""

    target: float = 10.0
    """Mean requests in flight of one ready replica. It must be set; 10 is our stand-in."""
    min_replicas: int = 1
    """Fewest replicas; with 0 it can start from zero."""
    max_replicas: int = 100
    """Must be set; 100 leaves the rule alone to decide."""
    window_s: float = 180.0
    """The metric is averaged over this time."""
    max_scale_up_rate: float = 2.0
    """Factor on the present number per decision."""
    max_scale_down_rate: float = 2.0
    """Divisor of the present number per decision."""
    tolerance_up: float = 0.1
    """Ratio above 1 that is not acted on."""
    tolerance_down: float = 0.1
    """Ratio below 1 that is not acted on."""
    up_window_s: float = 0.0
    """Scale-up cooldown: the *highest* recommendation of this time is taken."""
    down_window_s: float = 300.0
    """Scale-down cooldown: the *lowest* recommendation of this time is taken, the reverse of HPA's stabilization."""
    interval_s: float = 10.0
    """Seconds between decisions."""

    def __post_init__(self) -> None:
        require_bounds(self, self.min_replicas, self.max_replicas)
        require(self, least=1e-9, target=self.target, window_s=self.window_s, interval_s=self.interval_s)
        require(self, least=1, max_scale_up_rate=self.max_scale_up_rate, max_scale_down_rate=self.max_scale_down_rate)
        require(self, least=0, tolerance_up=self.tolerance_up, tolerance_down=self.tolerance_down)
        require(self, least=0, up_window_s=self.up_window_s, down_window_s=self.down_window_s)


@dataclass(frozen=True, slots=True)
class ApaState:
    """The metric of late, and what was recommended."""

    per_replica: Window = EMPTY
    recommended: tuple[tuple[float, int], ...] = ()


def apa_start(config: ApaConfig, observation: Observation) -> ApaState:  # noqa: ARG001 - every start has this form
    """Nothing seen, nothing recommended."""
    return ApaState()


def apa_interval_s(config: ApaConfig, state: ApaState) -> float:  # noqa: ARG001 - every interval has this form
    """Fixed."""
    return config.interval_s


def apa_step(config: ApaConfig, observation: Observation, state: ApaState) -> Step[ApaState]:
    """One reconcile. At zero with a minimum it is off; without a ready replica there is no metric and no change."""
    cur, now_s = observation.spec, observation.now_s
    if cur == 0 and config.min_replicas != 0:
        return Step(0, state, because("apa_disabled"))
    window = state.per_replica
    if observation.ready > 0:
        sample = (now_s, observation.period_s, observation.concurrency / observation.ready)
        window = record(window, sample, keep_s=config.window_s)
    average = mean(window, now_s, config.window_s)
    if average is None or observation.ready == 0:
        return Step(cur, ApaState(window, state.recommended), because("apa_no_metrics"))
    ratio = average / config.target
    wish = recommended(config, cur, ratio)
    longest_s = max(config.up_window_s, config.down_window_s)
    marks = (*(m for m in state.recommended if m[0] > now_s - longest_s), (now_s, wish))
    cooled = _cooled(config, marks, cur=cur, wish=wish)
    desired = clip(cooled, config.min_replicas, config.max_replicas)
    return Step(desired, ApaState(window, marks), because("apa", ratio=ratio, wish=wish, cooled=cooled))


def recommended(config: ApaConfig, cur: int, ratio: float) -> int:
    """Present number times metric over target, within tolerance and rates."""
    if ratio > 1.0 + config.tolerance_up:
        return min(math.ceil(cur * ratio), math.ceil(cur * config.max_scale_up_rate))
    if ratio < 1.0 - config.tolerance_down:
        return max(math.ceil(cur * ratio), math.floor(cur / config.max_scale_down_rate))
    return cur


def _cooled(config: ApaConfig, marks: tuple[tuple[float, int], ...], *, cur: int, wish: int) -> int:
    now_s = marks[-1][0]
    if wish > cur:
        return max([wish, *(n for at_s, n in marks if at_s > now_s - config.up_window_s)])
    if wish < cur:
        return min([wish, *(n for at_s, n in marks if at_s > now_s - config.down_window_s)])
    return cur
