"""What every ArtifactStore promises."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sizewise.controller.store import LocalStore
from sizewise.protocols.artifacts import ArtifactStore, content_hash
from sizewise.protocols.errors import DoesNotFitError, ModelFileError

MakeStore = Callable[..., ArtifactStore]


@pytest.fixture(params=["local"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    return lambda budget_bytes=None: LocalStore(tmp_path / "store", budget_bytes=budget_bytes)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "weights").mkdir(parents=True)
    (folder / "m.onnx").write_bytes(b"graph")
    (folder / "weights" / "a.bin").write_bytes(b"w" * 1000)
    return folder


FILES = ("m.onnx", "weights/a.bin")


def test_what_was_put_is_got_under_its_hash(make_store: MakeStore, model: Path) -> None:
    store = make_store()
    artifact = store.put(model, FILES, model="m")
    assert artifact == store.get(artifact.hash)
    assert artifact.hash == content_hash(model, FILES) == content_hash(artifact.path, FILES)
    assert (artifact.path / "weights" / "a.bin").read_bytes() == b"w" * 1000
    assert store.sizes() == {artifact.hash: artifact.disk_bytes} == {artifact.hash: 1005}


def test_the_same_content_is_stored_once(make_store: MakeStore, model: Path) -> None:
    store = make_store()
    assert store.put(model, FILES, model="a") == store.put(model, tuple(reversed(FILES)), model="b")
    assert len(store.sizes()) == 1


def test_free_space_is_looked_at_before_anything_is_written(tmp_path: Path, model: Path) -> None:
    store = LocalStore(tmp_path / "store", margin_bytes=1 << 60)
    with pytest.raises(DoesNotFitError, match="of free disk space but there is") as caught:
        store.put(model, FILES, model="m")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "store").iterdir()) == []
    assert store.sizes() == {}


def test_a_store_that_is_opened_again_knows_its_sizes(make_store: MakeStore, model: Path) -> None:
    artifact = make_store().put(model, FILES, model="m")
    again = make_store()
    assert again.sizes() == {artifact.hash: 1005}
    again.remove(artifact.hash)
    assert again.sizes() == {}
    again.put(model, FILES, model="m")
    assert again.sizes() == {artifact.hash: 1005}


def test_names_are_part_of_the_content(make_store: MakeStore, model: Path) -> None:
    store = make_store()
    first = store.put(model, ("m.onnx",), model="m")
    (model / "m.onnx").rename(model / "n.onnx")
    assert store.put(model, ("n.onnx",), model="m").hash != first.hash


def test_artifacts_are_read_only(make_store: MakeStore, model: Path) -> None:
    artifact = make_store().put(model, FILES, model="m")
    modes = {path.stat().st_mode & 0o777 for path in (artifact.path, *artifact.path.rglob("*"))}
    assert modes == {0o444, 0o555}


def test_removed_is_gone_and_removing_again_is_harmless(make_store: MakeStore, model: Path) -> None:
    store = make_store()
    artifact = store.put(model, FILES, model="m")
    store.remove(artifact.hash)
    store.remove(artifact.hash)
    assert store.get(artifact.hash) is None
    assert not artifact.path.exists()
    assert not store.sizes()


def test_over_the_budget_nothing_is_kept(make_store: MakeStore, model: Path) -> None:
    store = make_store(budget_bytes=1004)
    with pytest.raises(DoesNotFitError, match=r"needs 1005 B of the disk budget but there is 1004 B"):
        store.put(model, FILES, model="m")
    assert not store.sizes()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        pytest.param(lambda p: p.symlink_to("/etc/hostname"), "outside", id="link out of the folder"),
        pytest.param(os.mkfifo, "not a regular file", id="pipe"),
        pytest.param(lambda p: p.mkdir(), "not a regular file", id="folder"),
        pytest.param(lambda p: None, "cannot be read", id="absent"),
    ],
)
def test_only_regular_files_of_the_folder(
    make_store: MakeStore, model: Path, make: Callable[[Path], None], problem: str
) -> None:
    make(model / "odd")
    store = make_store()
    with pytest.raises(ModelFileError, match=problem):
        store.put(model, ("m.onnx", "odd"), model="m")
    with pytest.raises(ModelFileError, match="outside"):
        store.put(model / "weights", ("../m.onnx",), model="m")
    assert not store.sizes()


@pytest.mark.parametrize("name", ["../x", "", "ab", "g" * 64, "." * 64])
def test_what_is_no_hash_is_not_there(make_store: MakeStore, name: str) -> None:
    store = make_store()
    assert store.get(name) is None
    store.remove(name)
