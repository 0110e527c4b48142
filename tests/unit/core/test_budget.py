from dataclasses import replace

import pytest

from sizewise.core.budget import Refusal, fits, overweight, reserved_bytes, used_bytes
from sizewise.core.fleet import ReplicaState
from sizewise.core.profiles import Memory, Source
from sizewise.core.units import GIB, MIB
from tests.unit.core.fleet_sim import machine, profile
from tests.unit.core.views import model, replica

PROFILE = profile(private=100 * MIB, mapped=400 * MIB)


@pytest.mark.parametrize(
    ("memory", "refusal"),
    [
        pytest.param(600 * MIB, None, id="exactly full"),
        pytest.param(
            600 * MIB - 1, Refusal(need_bytes=600 * MIB, have_bytes=600 * MIB - 1), id="one byte short: the numbers"
        ),
    ],
)
def test_fits(memory: int, refusal: Refusal | None) -> None:
    assert fits(machine(memory=memory, overhead=100 * MIB), PROFILE) == refusal


@pytest.mark.parametrize(
    ("peak", "now", "source", "over"),
    [
        pytest.param(1 * GIB, 1536 * MIB, Source.MEASURED, False, id="by half: the limit itself"),
        pytest.param(1 * GIB, 1537 * MIB, Source.MEASURED, True, id="by more than half"),
        pytest.param(1 * MIB, 60 * MIB, Source.MEASURED, False, id="a small one may vary"),
        pytest.param(1 * MIB, 66 * MIB, Source.MEASURED, True, id="a small one that leaks"),
        pytest.param(1 * MIB, 9 * GIB, Source.ESTIMATED, False, id="an estimate condemns nobody"),
    ],
)
def test_overweight(peak: int, now: int, source: Source, over: bool) -> None:
    known = replace(PROFILE, memory=Memory(peak_bytes=peak), source=source)
    assert overweight(known, now) is over


@pytest.mark.parametrize(
    ("replicas", "mib"),
    [
        pytest.param((), 0, id="nothing runs"),
        pytest.param((replica("a"),), 500, id="one: private and mapped"),
        pytest.param((replica("a"), replica("b")), 600, id="two share the mapped weights"),
        pytest.param((replica("a", ReplicaState.LOADING),), 500, id="loading is charged in full"),
        pytest.param((replica("a", ReplicaState.DRAINING),), 500, id="draining too"),
        pytest.param((replica("a", ReplicaState.FAILED),), 0, id="a failed one holds nothing"),
        pytest.param((replica("a", memory_bytes=150 * MIB),), 550, id="what it has, if that is more"),
        pytest.param((replica("a"), replica("b", version="v0")), 1000, id="two versions map twice"),
    ],
)
def test_reserved(replicas: tuple[object, ...], mib: int) -> None:
    assert reserved_bytes(model("m", profile=PROFILE, replicas=replicas)) == mib * MIB


def test_used_is_what_was_read() -> None:
    running = model("m", profile=PROFILE, replicas=(replica("a", memory_bytes=7),), mapped_bytes=5)
    assert used_bytes(running) == 12
    assert used_bytes(model("m", mapped_bytes=5)) == 0
