"""A Faro-like policy: all models of a fixed cluster at once, by utility.

Source: Faro (EuroSys 2025). Every 300 s replicas are shared out to maximize the sum of min(1, SLO / latency) under a
cap; in between, a model that violates its SLO for 30 s gets one more; what goes down waits for 600 s. Differences: its
neural forecast is replaced by the rates of the last minutes taken as equally likely, its solver and rounding by a
greedy choice on whole replicas, and replicas without use are left free. The sum is not fair: beyond capacity it may
serve one of several equals well and starve the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sizewise.core.fleet import Reason
from sizewise.core.policies.base import Observation, require
from sizewise.core.reasons import because
from sizewise.core.sizing import erlang_c


@dataclass(frozen=True, slots=True, kw_only=True)
class FaroModel:
    """What is known of one model beforehand."""

    service_s: float = 0.18
    """Mean time to serve one request: that of the paper's ResNet34."""
    slo_s: float = 0.72
    """Latency goal at ``FaroConfig.quantile``: four times the service time, as in the paper."""
    weight: float = 1.0

    def __post_init__(self) -> None:
        require(self, least=1e-9, service_s=self.service_s, slo_s=self.slo_s)
        require(self, least=0, weight=self.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaroConfig:
    """The cluster and the two loops."""

    models: tuple[FaroModel, ...] = (FaroModel(),)
    """In the order of the observations."""
    most_replicas: int = 32
    """Replicas of all models together: the paper's smaller cluster."""
    quantile: float = 0.99
    """Quantile of the latency goal."""
    solve_interval_s: float = 300.0
    """Seconds between solutions."""
    horizon_s: float = 420.0
    """Time that a solution is judged over: 7 minutes."""
    cold_s: float = 65.0
    """Part of the horizon in which what is added does not serve yet."""
    minutes: int = 7
    """Rates of this many minutes are taken as what may come."""
    violation_s: float = 30.0
    """A model late for this long gets one more replica between solutions."""
    down_delay_s: float = 600.0
    """The highest solution of this time stays."""
    stable_utilization: float = 0.95
    """Beyond it latency grows with the overload instead of without bound."""
    interval_s: float = 10.0
    """Seconds between steps."""

    def __post_init__(self) -> None:
        require(self, least=len(self.models), most_replicas=self.most_replicas)
        require(self, least=1, minutes=self.minutes)
        require(self, least=0.01, most=0.9999, quantile=self.quantile, stable_utilization=self.stable_utilization)
        require(self, least=1e-9, solve_interval_s=self.solve_interval_s, horizon_s=self.horizon_s)
        require(self, least=0, most=self.horizon_s, cold_s=self.cold_s)


Counts = tuple[int, ...]
"""One number for each model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaroState:
    """Rates by the minute, the minute being gathered, solutions of late, and since when each model is late."""

    minute_s: float
    arrived: tuple[float, ...]
    rates: tuple[tuple[float, ...], ...]
    solved: tuple[tuple[float, Counts], ...]
    late_s: tuple[float | None, ...]
    solved_s: float = -math.inf


def latency_s(config: FaroConfig, model: FaroModel, replicas: int, *, rate_per_s: float) -> float:
    """Latency at the quantile, in seconds: service time and half the waiting time of M/M/c (for M/D/c).

    Beyond the stable utilization it is that of the highest stable rate, times the overload.
    """
    if replicas == 0:
        return math.inf if rate_per_s > 0 else 0.0
    offered = rate_per_s * model.service_s
    stable = config.stable_utilization * replicas
    excess = max(1.0, offered / stable)
    offered = min(offered, stable)
    waits = erlang_c(replicas, offered)
    drain_per_s = (replicas - offered) / model.service_s
    wait_s = max(0.0, math.log(waits / (1.0 - config.quantile))) / drain_per_s if waits > 0 else 0.0
    return (model.service_s + 0.5 * wait_s) * excess


def utility(config: FaroConfig, model: FaroModel, replicas: int, *, rates: Sequence[float]) -> float:
    """Mean of min(1, SLO / latency) over the rates, times the weight; 1 when there is nothing to serve."""
    if not rates:
        return model.weight
    latencies = [latency_s(config, model, replicas, rate_per_s=rate) for rate in rates]
    return model.weight * sum(min(1.0, model.slo_s / max(each, 1e-9)) for each in latencies) / len(rates)


def allocate(config: FaroConfig, rates: Sequence[Sequence[float]], *, now: Counts, least: Counts) -> Counts:
    """Replicas of every model, from ``least`` on, by the largest gain per replica until nothing gains or all are given.

    What is above ``now`` serves only after the cold start. A gain may need several replicas at once: the best run of
    them is taken, so that a utility that first bends upward does not stop it.
    """
    counts = list(least)
    free = config.most_replicas - sum(counts)
    curves = [_curve(config, i, rates[i], now=now[i]) for i in range(len(counts))]
    while free > 0:
        best = (1e-6, 0, 0)
        for i, curve in enumerate(curves):
            for more in range(1, free + 1):
                gain = (curve[counts[i] + more] - curve[counts[i]]) / more
                best = max(best, (gain, -i, -more))
        if best[2] == 0:
            break
        counts[-best[1]] -= best[2]
        free += best[2]
    return tuple(counts)


def _curve(config: FaroConfig, index: int, rates: Sequence[float], *, now: int) -> list[float]:
    model = config.models[index]
    plain = [utility(config, model, n, rates=rates) for n in range(config.most_replicas + 1)]
    cold = config.cold_s / config.horizon_s
    held = plain[min(now, config.most_replicas)]
    return [cold * held + (1.0 - cold) * value if n > now else value for n, value in enumerate(plain)]


def faro_start(config: FaroConfig, observations: Sequence[Observation]) -> FaroState:
    """What is found counts as the first solution. Raises ValueError unless there is one observation per model."""
    if len(observations) != len(config.models):
        raise ValueError(f"{len(observations)} observations for {len(config.models)} models: give one for each")
    now_s = observations[0].now_s
    none = tuple(0.0 for _ in observations)
    counts = tuple(o.spec for o in observations)
    late: tuple[float | None, ...] = tuple(None for _ in observations)
    rates: tuple[tuple[float, ...], ...] = tuple(() for _ in observations)
    return FaroState(minute_s=now_s, arrived=none, rates=rates, solved=((now_s, counts),), late_s=late)


def faro_interval_s(config: FaroConfig, state: FaroState) -> float:  # noqa: ARG001 - every interval has this form
    """Fixed."""
    return config.interval_s


def faro_step(
    config: FaroConfig, observations: Sequence[Observation], state: FaroState
) -> tuple[Counts, FaroState, Reason]:
    """Desired replicas of every model: a new solution when it is due, else one more for those that stay late."""
    now_s = observations[0].now_s
    state = _gathered(config, observations, state)
    counts = tuple(o.spec for o in observations)
    if now_s - state.solved_s >= config.solve_interval_s and any(state.rates):
        return _solve(config, counts, state, now_s=now_s)
    late = tuple(_late_since(config, i, o, since_s=state.late_s[i]) for i, o in enumerate(observations))
    free = config.most_replicas - sum(counts)
    grown: list[int] = []
    for i, since_s in enumerate(late):
        if len(grown) < free and since_s is not None and now_s - since_s >= config.violation_s:
            grown.append(i)
    late = tuple(now_s if i in grown else since_s for i, since_s in enumerate(late))
    desired = tuple(n + (i in grown) for i, n in enumerate(counts))
    return desired, replace(state, late_s=late), because("faro_reactive", added=len(grown))


def _gathered(config: FaroConfig, observations: Sequence[Observation], state: FaroState) -> FaroState:
    arrived = tuple(a + o.arrivals for a, o in zip(state.arrived, observations, strict=True))
    elapsed_s = observations[0].now_s - state.minute_s
    if elapsed_s < 60.0:
        return replace(state, arrived=arrived)
    past = zip(state.rates, arrived, strict=True)
    rates = tuple((*old, count / elapsed_s)[-config.minutes :] for old, count in past)
    return replace(state, minute_s=observations[0].now_s, arrived=tuple(0.0 for _ in arrived), rates=rates)


def _solve(config: FaroConfig, counts: Counts, state: FaroState, *, now_s: float) -> tuple[Counts, FaroState, Reason]:
    ones = tuple(1 for _ in counts)
    wish = allocate(config, state.rates, now=counts, least=ones)
    recent = (*(s for s in state.solved if s[0] > now_s - config.down_delay_s), (now_s, wish))
    held = tuple(min(n, max(s[1][i] for s in recent)) for i, n in enumerate(counts))
    least = tuple(map(max, held, ones))
    desired = allocate(config, state.rates, now=counts, least=least) if sum(least) < config.most_replicas else least
    after = replace(state, solved=recent, solved_s=now_s)
    return desired, after, because("faro_solved", wish=sum(wish), replicas=sum(desired))


def _late_since(config: FaroConfig, index: int, observation: Observation, *, since_s: float | None) -> float | None:
    model = config.models[index]
    late = latency_s(config, model, observation.ready, rate_per_s=observation.rate_per_s) > model.slo_s
    if not late:
        return None
    return observation.now_s if since_s is None else since_s
