"""A folder of models as a spec."""

from pathlib import Path

import pytest

from sizewise.controller.folder import folder_spec
from sizewise.protocols.errors import UsageError

MODEL = "def load():\n    return 1\n\n\ndef predict(model, inputs):\n    return inputs\n"


def test_two_files_that_would_share_a_name_are_named(tmp_path: Path) -> None:
    for name in ("A.py", "a.py"):
        (tmp_path / name).write_text(MODEL)
    with pytest.raises(UsageError, match=r"A\.py and a\.py would both be called 'a\.py': rename one"):
        folder_spec(tmp_path)
    (tmp_path / "A.py").rename(tmp_path / "b.py")
    assert [model.name for model in folder_spec(tmp_path).models] == ["a", "b"]
