"""A unit test is quick: three seconds of processor time, and as much more as its processors are shared."""

import os
import time
from collections.abc import Generator

import pytest

LIMIT_S = 3.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    started_s = time.process_time()
    result = yield
    used_s = time.process_time() - started_s
    # Threads that share a core and its caches make each other's seconds longer, these too
    limit_s = LIMIT_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    if used_s > limit_s:
        pytest.fail(f"{item.nodeid} took {used_s:.1f} s of processor time; a unit test has {limit_s:.1f} s")
    return result
