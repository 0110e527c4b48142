"""One request to a server of the user's gives one answer, whatever else that server says."""

import pytest

from tests.fuzz.servers import proxied

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param([ANSWER], id="one"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER], id="after an interim one"),
        pytest.param([ANSWER + ANSWER], id="two at once"),
        pytest.param([ANSWER, ANSWER], id="one after the other"),
        pytest.param([ANSWER + b"more than it said"], id="more than it said"),
        pytest.param([ANSWER[:20], ANSWER[20:] + ANSWER[:20]], id="cut anyhow"),
    ],
)
def test_one_answer(said: list[bytes]) -> None:
    assert proxied(0, said) == (b"200", b"abc", "open")


def test_half_an_answer_is_seen_to_be_half() -> None:
    assert proxied(0, [ANSWER[:-1]]) == (b"200", b"ab", "aborted")
