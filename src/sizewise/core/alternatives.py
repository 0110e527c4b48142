"""What was not decided, and why not; and what is expected of what was: made when somebody asks, not every second."""

from dataclasses import replace

from sizewise.core.budget import mapped_bytes
from sizewise.core.fleet import FleetView, ModelDecision, ModelView, Reason, Refused
from sizewise.core.observations import distrust_machine
from sizewise.core.reasons import because
from sizewise.core.sizing import expected_attainment
from sizewise.core.targets import Plan, plan_of, useful_replicas
from sizewise.core.vertical import Ask, shapes_of

NOT_NEEDED = because("not_needed")

_HELD_BACK = frozenset({"parked", "unloaded", "max", "cpu"})
"""Rules that bound from above: what they say about the decision, they say about one more."""


def with_alternatives(decided: ModelDecision, model: ModelView, view: FleetView) -> ModelDecision:
    """``decided`` with one replica fewer and one more, why neither was taken, and the attainment that is expected.

    ``decided`` must be what ``decide(view)`` said about ``model``. What a budget refused is there already and stands
    in for one more.
    """
    if distrust_machine(view) is not None:
        return decided
    plan = plan_of(model, view)
    plan.reason = decided.reason
    desired = decided.desired
    expected = None
    if plan.capacity is not None and plan.sized is not None:
        expected = expected_attainment(plan.capacity, desired, plan.sized.rate_per_s)
    refused: list[Refused] = []
    if desired > 0:
        refused.append(Refused(desired=desired - 1, reason=_why_not_fewer(plan, decided)))
    if decided.refused:
        refused.extend(decided.refused)
    elif plan.trusted:
        refused.append(Refused(desired=desired + 1, reason=_why_not_more(plan, desired + 1, expected, view=view)))
    if desired > 0:
        refused.extend(_other_shapes(plan, view))
    return replace(decided, refused=tuple(refused), expected_attainment=expected)


def _other_shapes(plan: Plan, view: FleetView) -> list[Refused]:
    """Fewer or more threads for each replica. The number is chosen when a model is measured, for its latency at batch
    1; what another would cost at the present rate is shown, not acted on."""
    model = plan.model
    if plan.sized is None or plan.sized.rate_per_s <= 0 or not model.profile.other_threads:
        return []
    rows, most = model.demand.rows_per_request, model.policy.max_replicas
    ask = Ask(rate_per_s=plan.sized.rate_per_s, slo=model.slo, rows_per_request=rows, most=most)
    own, *others = shapes_of(model.profile, ask, view.machine)
    return [
        Refused(
            desired=shape.replicas,
            reason=because(
                "threads" if shape.meets else "threads_late",
                replicas=shape.replicas,
                threads=shape.threads,
                share=shape.cost,
                own_share=own.cost,
            ),
        )
        for shape in others
    ]


def _why_not_fewer(plan: Plan, decided: ModelDecision) -> Reason:
    fewer = decided.desired - 1
    if not plan.trusted or decided.wanted > plan.need or fewer < plan.floor:
        return plan.reason
    capacity, sized = plan.capacity, plan.sized
    if fewer == 0 or capacity is None or sized is None:
        return because("cold_again", load_s=plan.load_s)
    attained = expected_attainment(capacity, fewer, sized.rate_per_s)
    if attained is None or fewer * capacity.per_s <= sized.rate_per_s:
        return because("overloaded", replicas=fewer, capacity_per_s=fewer * capacity.per_s, rate_per_s=sized.rate_per_s)
    return because("late", replicas=fewer, late=1.0 - attained)


def _why_not_more(plan: Plan, more: int, expected: float | None, *, view: FleetView) -> Reason:
    model = plan.model
    rate = plan.sized.rate_per_s if plan.sized else 0.0
    if plan.reason.code in _HELD_BACK:
        return plan.reason
    if more > model.policy.max_replicas:
        return because("max", most=model.policy.max_replicas, rate_per_s=rate)
    useful = useful_replicas(model, view.machine.cpus)
    if more > useful:
        threads = model.profile.threads
        return because("cpu", most=int(useful), rate_per_s=rate, cpus=view.machine.cpus, threads=threads)
    if expected is None or plan.capacity is None:
        return NOT_NEEDED
    better = expected_attainment(plan.capacity, more, rate) or expected
    size = model.profile.memory.replica_bytes + (mapped_bytes(model, model.version) if more == 1 else 0)
    return because("no_gain", replicas=more, gain=max(0.0, better - expected), bytes=size)
