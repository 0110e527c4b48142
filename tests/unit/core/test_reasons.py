import math
import re
from pathlib import Path

import pytest

import sizewise.core
from sizewise.core.fleet import Reason
from sizewise.core.reasons import CODES, SENTENCES, because, render

SOURCES = "\n".join(path.read_text() for path in Path(sizewise.core.__path__[0]).glob("*.py"))


def codes_used() -> set[str]:
    """Codes written where reasons are made, conditional and named ones included."""
    used = set(re.findall(r'because\(\s*"(\w+)"', SOURCES))
    for line in re.findall(r"(?:rule|code) = (.+)|because\(\s*(\"\w+\" if .+? else \"\w+\")", SOURCES):
        used |= set(re.findall(r'"(\w+)"', "".join(line)))
    return used


def test_every_code_has_a_sentence_and_every_sentence_a_code() -> None:
    assert codes_used() == CODES


def test_sentences_are_short_single_and_without_period() -> None:
    for sentence in SENTENCES.values():
        assert len(sentence) < 120
        assert not sentence.endswith(".")


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        pytest.param(
            because("hold", need=1, hold_s=45.0, left_s=12.3),
            "1 needed, but the need must stay lower for 45.0 s: 12.3 s left",
            id="durations",
        ),
        pytest.param(
            because("memory", need_bytes=600 << 20, free_bytes=0),
            "600 MiB needed, 0 B free, and nothing of lower value can go",
            id="bytes",
        ),
        pytest.param(because("idle", idle_s=math.inf), "no demand: no request since the start", id="never"),
        pytest.param(because("idle", idle_s="ever"), "no demand: no request since the start", id="never, kept"),
        pytest.param(because("absurd", figure="rate", value=math.nan), "rate is nan", id="not a number"),
        pytest.param(because("min"), "min_replicas is ?", id="a number is missing"),
        pytest.param(Reason(code="of_the_future", numbers={"x_s": 1.0}), "of_the_future x_s=1.0 s", id="unknown code"),
    ],
)
def test_render(reason: Reason, text: str) -> None:
    assert render(reason).startswith(text)
