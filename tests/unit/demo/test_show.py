"""What the demo says while it runs and at its end, of requests that were not answered."""

from sizewise.demo.load import Outcome
from sizewise.demo.report import Report
from sizewise.demo.run import Run
from sizewise.demo.show import many_lost, plain_line

STATUS = {"models": [], "machine": {"memory_used_bytes": 0, "memory_bytes": 2**30}}


def test_progress_counts_what_was_answered() -> None:
    run = Run(seconds=10.0, weighed={}, models=())
    run.outcomes = [Outcome(model="iris", at_s=0.0, latency_s=0.1, status=status) for status in (200, 200, 429, 504, 0)]
    assert "2/40 requests answered" in plain_line(run._moment(STATUS, 5.0, 40))


def report(*, failed: int, shed: int) -> Report:
    return Report(
        seconds=10.0,
        lasted_s=12.0,
        seed=7,
        requests=1000,
        answered=1000 - failed - shed,
        shed=shed,
        failed=failed,
        slo_attainment=0.9,
        cold_starts=1,
        replica_seconds=10.0,
        memory_byte_seconds=1e9,
        always_on_replica_seconds=20.0,
        always_on_memory_byte_seconds=2e9,
        memory_budget_bytes=2**30,
        models_sum_bytes=2**31,
        models=(),
    )


def test_many_lost_requests_are_said_in_one_line() -> None:
    said = many_lost(report(failed=30, shed=20))
    assert said is not None
    assert said.startswith("50 of 1000 requests were not answered (30 failed, 20 refused)")
    assert "too busy" in said
    assert "\n" not in said


def test_a_few_lost_requests_are_nothing_to_say() -> None:
    assert many_lost(report(failed=5, shed=5)) is None
