"""What becomes of a deploy, for whoever waits for it: the version serves, or the reason why it does not."""

from typing import TYPE_CHECKING

from sizewise.controller.records import ModelRecord, RolloutState
from sizewise.core.fleet import ReplicaState
from sizewise.protocols.errors import ConflictError

if TYPE_CHECKING:
    from sizewise.controller.controller import Controller


async def until_served(controller: "Controller", record: ModelRecord, timeout_s: float) -> None:
    """Until the version that was just deployed serves. Raises ConflictError when it does not."""
    if record.candidate is not None:
        await _until_switched(controller, record.name, timeout_s)
        return
    # A policy that lets the model sleep would not load it: whether it can be woken shows when it is
    await controller.pin(record.name, 1)
    try:
        await _until_loaded(controller, record, timeout_s)
    finally:
        left = controller.registry.find(record.name)
        if left is not None and left.pinned == 1:
            await controller.pin(record.name, None)


async def _until_switched(controller: "Controller", name: str, timeout_s: float) -> None:
    try:
        rollout = await controller.wait_settled(name, timeout_s)
    except TimeoutError as error:
        raise ConflictError(
            f"model {name!r} is still changing its version after {timeout_s:g} s: the old one serves meanwhile"
        ) from error
    if rollout is not None and rollout.state is RolloutState.FAILED:
        raise ConflictError(
            f"model {name!r}: version {rollout.version} was given up ({rollout.detail}): the old one goes on serving"
        )


async def _until_loaded(controller: "Controller", record: ModelRecord, timeout_s: float) -> None:
    name, version = record.name, record.serving.version

    def serves() -> bool:
        own = controller.snapshot.replicas_of(name)
        return any(r.version == version and r.state is ReplicaState.READY for r in own)

    def problem() -> str | None:
        now = controller.registry.find(name)
        if now is None or now.serving.version != version:
            return "it was undeployed or replaced meanwhile"
        return controller.failure(name)

    try:
        await controller.registry.wait_for(lambda: serves() or problem(), timeout_s)
    except TimeoutError as error:
        reason = controller.model_status(name).reason
        raise ConflictError(f"model {name!r} does not serve after {timeout_s:g} s: {reason}") from error
    if not serves():
        raise ConflictError(f"model {name!r}: version {version} does not serve: {problem()}")
