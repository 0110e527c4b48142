"""What fuzzing has kept holds still. New inputs are looked for by ``python -m tests.fuzz``."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_breaks_nothing(name: str) -> None:
    paths = sorted((CORPUS / name).glob("*"))
    assert paths, "the corpus has been lost"
    for path in paths:
        TARGETS[name](path.read_bytes())
