"""A command that we print can be pasted into a shell, whatever the path is called."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sizewise.cli.demo import _next
from sizewise.cli.main import app
from sizewise.cli.show_up import started_lines
from sizewise.controller.layout import ControllerLock
from sizewise.protocols.errors import ConflictError


def test_a_hint_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SIZEWISE_STATE_DIR", "SIZEWISE_URL"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(app, ["status", "--state-dir", "my state"])
    assert result.stderr.endswith("start one with: sizewise up --state-dir 'my state'\n")
    assert CliRunner().invoke(app, ["init", "my spec.yaml"]).stdout.endswith("run: sizewise up 'my spec.yaml'\n")
    assert "sizewise up 'my demo/sizewise.yaml' --state-dir 'my demo/state'" in _next(
        Path("my demo"), Path("my demo/state"), keep=False
    )
    started: dict[str, Any] = {
        "adopted": False,
        "difference": None,
        "data_url": "http://h",
        "grpc_address": "",
        "tls_cert": None,
        "admin_url": "http://h",
        "models": [],
    }
    assert started_lines(started, Path("my state"))[-1] == "  sizewise down --state-dir 'my state'"
    Path("my state").mkdir()
    lock = ControllerLock(Path("my state"))
    lock.acquire()
    with pytest.raises(ConflictError, match="`sizewise down --state-dir 'my state'`"):
        ControllerLock(Path("my state")).acquire()
    lock.release()
