"""What is to be done about a decision, by what the controller knows besides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sizewise.controller import placing
from sizewise.controller.reconcile import Surroundings, actions_of
from sizewise.controller.records import ModelRecord
from sizewise.controller.registry import Registry
from sizewise.controller.watch import Parking
from sizewise.core.density import Packed, Placement
from sizewise.core.fleet import FleetDecision
from sizewise.core.forms import Form
from sizewise.core.profiles import ModelProfile, Source
from sizewise.core.reasons import render
from sizewise.core.waking import Woken
from sizewise.protocols.backend import Action, ModelRoute, PublishModel, Snapshot, StopReplica, WithdrawModel


@dataclass(slots=True, kw_only=True)
class Acting:
    registry: Registry
    parking: Parking
    profiles: Mapping[str, ModelProfile]
    """By hash of the artifact."""
    cpus: float
    new_id: Callable[[], str]
    form_of: Callable[[str], Form | None]
    published: dict[str, ModelRoute] = field(default_factory=dict)
    """Routes that the backend has accepted since this controller began."""

    def of_step(
        self, snapshot: Snapshot, decision: FleetDecision, packed: Packed, *, placement: Placement
    ) -> tuple[Action, ...]:
        view = packed.full
        refused = self.parking.refusals(view.now_s)
        for decided in decision.models:
            if decided.reason.code in {"too_large", "unloaded"}:
                refused[decided.name] = f"model {decided.name!r} cannot be started: {render(decided.reason)}"
        around = self._around({record.name: record for record in self.registry}, placement, refused=refused)
        views = {model.name: model for model in view.models}
        actions = (*actions_of(snapshot, decision, views, around=around), *placing.actions_of_moves(views, around))
        troubled = self.parking.stops(snapshot.replicas, self.registry, self.profiles, now_s=view.now_s)
        stopped = {action.replica_id for action in actions if isinstance(action, StopReplica)}
        # Last, so that the harshest word about a replica counts.
        return (*actions, *(stop for stop in troubled if stop.replica_id not in stopped))

    def of_woken(self, woken: Woken, records: Mapping[str, ModelRecord], snapshot: Snapshot) -> tuple[Action, ...]:
        """The same where nobody else is seen."""
        around = self._around(records, woken.placement, refused={})
        published = {name: route for name, route in self.published.items() if name in records}
        views = {model.name: model for model in woken.view.models}
        seen = Snapshot(at_s=snapshot.at_s, warm=tuple(held for name in records for held in snapshot.warm_of(name)))
        return actions_of(seen, woken.decision, views, around=replace(around, published=published))

    def took(self, actions: Sequence[Action]) -> None:
        """The backend has accepted these."""
        for action in actions:
            if isinstance(action, PublishModel):
                self.published[action.route.model] = action.route
            elif isinstance(action, WithdrawModel):
                self.published.pop(action.model, None)

    def _around(
        self, records: Mapping[str, ModelRecord], placement: Placement, *, refused: Mapping[str, str]
    ) -> Surroundings:
        return Surroundings(
            records=records,
            published=self.published,
            refused=refused,
            unmeasured={h for h, profile in tuple(self.profiles.items()) if profile.source is Source.ESTIMATED},
            cpus=self.cpus,
            new_id=self.new_id,
            form_of=self.form_of,
            placement=placing.named(placement, self.new_id),
        )
