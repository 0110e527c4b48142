import pytest

from sizewise.core.backoff import CrashHistory, after_death, after_ready, hangs, parked_until_s, raised
from sizewise.core.profiles import BatchPoint, LatencyCurve, Memory
from sizewise.core.units import MIB


def crashed(times: int, *, every_s: float = 1.0, was_ready: bool = False) -> CrashHistory:
    history = CrashHistory()
    for i in range(times):
        history = after_death(history, i * every_s, was_ready=was_ready)
    return history


@pytest.mark.parametrize(
    ("history", "now_s", "until_s"),
    [
        pytest.param(crashed(1), 0.4, 0.5, id="one failure: a pause"),
        pytest.param(crashed(2), 1.0, 3.0, id="two failures: a longer one"),
        pytest.param(crashed(2), 3.0, None, id="pause over: tried again"),
        pytest.param(crashed(3), 2.0, 12.0, id="three in a row: parked"),
        pytest.param(crashed(3), 12.0, None, id="park is over"),
        pytest.param(crashed(3, every_s=1000), 2000.0, 2010.0, id="in a row, however slowly"),
        pytest.param(crashed(5, was_ready=True), 4.0, None, id="five deaths in a minute: not yet"),
        pytest.param(crashed(6, was_ready=True), 5.0, 15.0, id="more than five in a minute"),
        pytest.param(crashed(20, every_s=20, was_ready=True), 380.0, None, id="now and then"),
    ],
)
def test_parked(history: CrashHistory, now_s: float, until_s: float | None) -> None:
    assert parked_until_s(history, now_s) == until_s


def test_parks_double_up_to_a_cap_and_each_gets_one_attempt() -> None:
    history, lengths, now_s = crashed(2), [], 2.0
    for _ in range(9):
        history = after_death(history, now_s, was_ready=False)
        until_s = parked_until_s(history, now_s)
        assert until_s is not None
        lengths.append(until_s - now_s)
        now_s = until_s
    assert lengths == [10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_a_ready_replica_ends_the_row_and_after_a_while_the_series() -> None:
    history = after_ready(crashed(3), 13.0)
    assert (history.in_a_row, history.parks, parked_until_s(history, 13.0)) == (0, 1, None)
    assert after_death(history, 20.0, was_ready=True).parks == 1
    assert after_death(history, 700.0, was_ready=True).parks == 0


def test_death_by_lack_of_memory_raises_the_need() -> None:
    history = after_death(CrashHistory(), 0.0, was_ready=True, memory_bytes=100 * MIB, out_of_memory=True)
    assert history.memory_floor_bytes == 150 * MIB
    again = after_death(history, 1.0, was_ready=True, memory_bytes=120 * MIB, out_of_memory=True)
    assert again.memory_floor_bytes == 225 * MIB
    assert after_death(again, 2.0, was_ready=True, memory_bytes=999 * MIB).memory_floor_bytes == 225 * MIB
    assert raised(Memory(peak_bytes=10), 225 * MIB).replica_bytes == 225 * MIB
    assert raised(Memory(peak_bytes=300 * MIB), 225 * MIB).replica_bytes == 300 * MIB


@pytest.mark.parametrize(
    ("mute_s", "timeout_s", "hung"),
    [
        pytest.param(4.9, 1.0, False, id="shorter than anybody's patience"),
        pytest.param(5.1, 1.0, True, id="longer than a short timeout"),
        pytest.param(29.0, 30.0, False, id="requests may wait longer"),
        pytest.param(31.0, 30.0, True, id="nobody waits that long"),
    ],
)
def test_a_mute_replica_hangs(mute_s: float, timeout_s: float, hung: bool) -> None:
    curve = LatencyCurve((BatchPoint(batch=8, p50_s=0.1, p95_s=0.2),))
    assert hangs(curve, mute_s=mute_s, timeout_s=timeout_s) is hung
    slow = LatencyCurve((BatchPoint(batch=8, p50_s=5.0, p95_s=6.0),))
    assert not hangs(slow, mute_s=mute_s, timeout_s=timeout_s), "its slowest batch takes as long"
