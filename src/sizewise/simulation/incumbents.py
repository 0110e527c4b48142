"""Today's autoscalers on the simulated backend: each is asked when it wants to be, and shown what it would see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

from sizewise.core.fleet import Reason, ReplicaState
from sizewise.core.policies.base import Incumbent, JointIncumbent, Observation, ReplicaSample
from sizewise.simulation.eyes import Late
from sizewise.simulation.scenario import Scenario
from sizewise.simulation.world import Replica, World

Tell = Callable[[float], None]
CHANGES_KEPT = 5000


@dataclass(frozen=True, slots=True)
class Change:
    """A decision that changed something, for the report."""

    at_s: float
    model: int
    desired: int
    reason: Reason


class Watcher:
    """One model as an autoscaler sees it, from one look to the next."""

    def __init__(self, world: World, late: Late, model: int) -> None:
        self._world = world
        self._late = late
        self._model = model
        self._at_s = world.now_s
        self._arrived = 0
        self._concurrency_s = 0.0
        self._busy_s: dict[int, float] = {}
        self.spec = len(world.supply(model))

    def look(self) -> Observation:
        world, model, now_s = self._world, self._model, self._world.now_s
        world.pools.advance(model, now_s)
        counts = world.pools.counts(model)
        passed_s = now_s - self._at_s
        concurrency_s = counts.concurrency_s - self._concurrency_s
        arrived = counts.arrived - self._arrived
        mean = concurrency_s / passed_s if passed_s > 0 else float(counts.queued + counts.outstanding)
        supply = world.supply(model)
        ready = [each for each in supply if each.state is ReplicaState.READY]
        busy = [self._busy_share(each, passed_s) for each in ready]
        self._busy_s = {each.slot: world.pools.busy_s(each.slot) for each in ready}
        self._at_s, self._arrived, self._concurrency_s = now_s, counts.arrived, counts.concurrency_s
        each_has = mean / len(ready) if ready else 0.0
        threads = world.models[model].profile.threads
        shares = dict(zip([each.number for each in ready], busy, strict=True))
        return self._late.seen(
            Observation(
                now_s=now_s,
                spec=self.spec,
                ready=len(ready),
                loading=len(supply) - len(ready),
                period_s=passed_s,
                concurrency=mean,
                arrivals=float(arrived),
                queued=float(counts.queued),
                utilization=sum(busy) / len(busy) if busy else None,
                replicas=tuple(_sample(each, shares, each_has=each_has, threads=threads) for each in supply),
            )
        )

    def _busy_share(self, replica: Replica, passed_s: float) -> float:
        if passed_s <= 0:
            return 0.0
        busy_s = self._world.pools.busy_s(replica.slot) - self._busy_s.get(replica.slot, 0.0)
        return min(1.0, max(0.0, busy_s / passed_s))

    def scale(self, desired: int) -> bool:
        """Have so many replicas; whether that changed anything. Those that do not answer yet go first, then the
        youngest of the least busy."""
        self.spec = desired
        supply = self._world.supply(self._model)
        for _ in range(desired - len(supply)):
            self._world.order(self._model)
        if desired < len(supply):
            pools = self._world.pools
            supply.sort(
                key=lambda each: (
                    each.placed_s is not None,
                    each.state is ReplicaState.READY,
                    pools.outstanding(each.slot) if each.slot >= 0 else 0,
                    -each.number,
                )
            )
            for replica in supply[: len(supply) - desired]:
                self._world.stop(replica)
        return desired != len(supply)


def watchers_of(scenario: Scenario, world: World) -> list[Watcher]:
    """One for each model."""
    metrics, seed = scenario.metrics, scenario.seed
    return [Watcher(world, Late(metrics, seed=(seed, 29, i)), i) for i in range(len(world.models))]


def _sample(replica: Replica, shares: dict[int, float], *, each_has: float, threads: int) -> ReplicaSample:
    ready = replica.state is ReplicaState.READY
    return ReplicaSample(
        pending=replica.placed_s is None,
        ready=ready,
        started_at_s=replica.started_s,
        ready_changed_at_s=replica.ready_s if replica.ready_s is not None else replica.ordered_s,
        busy_cores=shares[replica.number] * threads if ready else None,
        concurrency=each_has if ready else None,
    )


class Separate:
    """An autoscaler for each model, none knowing the others."""

    def __init__(self, scenario: Scenario, world: World, policies: Sequence[Incumbent[Any, Any]]) -> None:
        self._scenario = scenario
        self._world = world
        self._policies = tuple(policies)
        self._watchers = watchers_of(scenario, world)
        self._states: list[Any] = [None] * len(policies)
        self.changes: list[Change] = []

    def run(self, end_s: float, tell: Tell) -> None:
        world, wake_s = self._world, self._scenario.wake_s
        due = [(0.0, i) for i in range(len(self._policies))]
        heapify(due)
        sleepers = not self._policies[0].wakes
        asked = set[int]()
        forget_s = 0.0
        while due and world.now_s < end_s:
            at_s = due[0][0]
            if not sleepers:
                if world.now_s >= forget_s:
                    asked.clear()
                    forget_s = world.now_s + 1.0
                woken_s, model = world.next_cold_s(asked)
                if woken_s + wake_s < min(at_s, end_s):
                    asked.add(model)
                    world.run_until(max(world.now_s, min(woken_s + wake_s, world.block_end_s)))
                    self._ask(model)
                    continue
            world.run_until(min(at_s, end_s))
            while due and due[0][0] <= world.now_s < end_s:
                _, model = heappop(due)
                self._ask(model)
                policy = self._policies[model]
                heappush(due, (at_s + policy.interval_s(policy.config, self._states[model]), model))
            tell(world.now_s)
        world.run_until(end_s)

    def _ask(self, model: int) -> None:
        policy, watcher = self._policies[model], self._watchers[model]
        observation = watcher.look()
        if self._states[model] is None:
            self._states[model] = policy.start(policy.config, observation)
        step = policy.step(policy.config, observation, self._states[model])
        self._states[model] = step.state
        if watcher.scale(step.desired) and len(self.changes) < CHANGES_KEPT:
            self.changes.append(Change(self._world.now_s, model, step.desired, step.reason))


class Joint:
    """An autoscaler that decides for all models at once."""

    def __init__(self, scenario: Scenario, world: World, policy: JointIncumbent[Any, Any]) -> None:
        self._world = world
        self._policy = policy
        self._watchers = watchers_of(scenario, world)
        self.changes: list[Change] = []

    def run(self, end_s: float, tell: Tell) -> None:
        policy, world = self._policy, self._world
        state: Any = None
        while world.now_s < end_s:
            observations = [watcher.look() for watcher in self._watchers]
            if state is None:
                state = policy.start(policy.config, observations)
            desired, state, reason = policy.step(policy.config, observations, state)
            for model, (watcher, count) in enumerate(zip(self._watchers, desired, strict=True)):
                if watcher.scale(count) and len(self.changes) < CHANGES_KEPT:
                    self.changes.append(Change(world.now_s, model, count, reason))
            world.run_until(min(end_s, world.now_s + policy.interval_s(policy.config, state)))
            tell(world.now_s)
