"""A unit test is quick: two seconds of processor time, which a busy machine does not change."""

import time
from collections.abc import Generator

import pytest

LIMIT_S = 2.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    started_s = time.process_time()
    result = yield
    used_s = time.process_time() - started_s
    if used_s > LIMIT_S:
        pytest.fail(f"{item.nodeid} took {used_s:.1f} s of processor time; a unit test has {LIMIT_S:.0f} s")
    return result
