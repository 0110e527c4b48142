"""The state directory on a real file system."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sizewise.controller.layout import (
    FORMAT,
    ControllerLock,
    Holder,
    admin_token,
    is_held,
    prepare_state_dir,
    read_holder,
)
from sizewise.controller.state import StateStore
from sizewise.protocols.errors import ConflictError, UnavailableError

HOLDER = Holder(pid=7, admin_url="http://127.0.0.1:8081", data_url="http://127.0.0.1:8080")


def test_it_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    state_dir = tmp_path / "deep" / "state"
    prepare_state_dir(state_dir)
    token = admin_token(state_dir)
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((state_dir / "admin-token").stat().st_mode) == 0o600
    assert len(token) >= 32
    prepare_state_dir(state_dir)
    assert admin_token(state_dir) == token


@pytest.mark.parametrize("found", [str(FORMAT + 1), "x", ""])
def test_another_format_is_refused(tmp_path: Path, found: str) -> None:
    (tmp_path / "format").write_text(found)
    with pytest.raises(UnavailableError, match="this version reads up to"):
        prepare_state_dir(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="choose another --state-dir"):
        prepare_state_dir(tmp_path / "file" / "state")


def test_the_second_controller_is_told_who_holds_it(tmp_path: Path) -> None:
    first, second = ControllerLock(tmp_path), ControllerLock(tmp_path)
    assert not is_held(tmp_path)
    first.acquire()
    assert is_held(tmp_path)
    with pytest.raises(ConflictError, match="starting up"):
        second.acquire()
    first.announce(HOLDER)
    assert read_holder(tmp_path) == HOLDER
    with pytest.raises(ConflictError, match=r"pid 7, http://127\.0\.0\.1:8081"):
        second.acquire()
    first.release()
    assert not is_held(tmp_path)
    second.acquire()
    second.release()


def test_a_killed_controller_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, sys\n"
        "from sizewise.controller.layout import ControllerLock\n"
        "ControllerLock(pathlib.Path(sys.argv[1])).acquire()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == -9
    assert not is_held(tmp_path)


async def test_the_state_survives_its_process(tmp_path: Path) -> None:
    state = StateStore(tmp_path / "state.db")
    await state.put_notes({"k": 1})
    state.close()
    again = StateStore(tmp_path / "state.db")
    assert await again.note("k") == 1
    again.close()


def test_a_state_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database, but long enough to look like one" * 50)
    with pytest.raises(UnavailableError, match=r"state\.db cannot be opened"):
        StateStore(tmp_path / "state.db")
