"""What the store of load-ready forms promises."""

from pathlib import Path

import pytest

from sizewise.controller.forms import FormStore
from sizewise.controller.store import LocalStore
from sizewise.core.forms import Form
from sizewise.protocols.errors import DoesNotFitError

A, B = "a" * 64, "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> FormStore:
    return FormStore(tmp_path / "forms")


def make(store: FormStore, content_hash: str, *, key: str = "packed-1", size: int = 1000) -> Form:
    folder = store.begin()
    (folder / "m.onnx").write_bytes(b"g" * size)
    form = Form(name=key.split("-", maxsplit=1)[0], key=key, runtime="onnx", path="", entry="m.onnx", disk_bytes=0)
    return store.commit(folder, content_hash, form)


def on_disk(store: FormStore) -> set[str]:
    return {str(path.relative_to(store.root)) for path in store.root.glob("*/*")}


def test_what_was_committed_is_found_also_by_the_next_process(store: FormStore) -> None:
    form = make(store, A)
    assert store.find(A) == form == FormStore(store.root).find(A)
    assert (Path(form.path) / "m.onnx").read_bytes() == b"g" * 1000
    assert store.find(B) is None
    assert store.sizes() == {f"{A}/packed-1": form.disk_bytes}
    assert store.used_bytes == form.disk_bytes >= 1000


def test_forms_are_read_only(store: FormStore) -> None:
    path = Path(make(store, A).path)
    assert {each.stat().st_mode & 0o777 for each in (path, *path.rglob("*"))} == {0o444, 0o555}


def test_a_new_form_takes_the_place_of_the_old_one(store: FormStore) -> None:
    make(store, A, key="mapped-1")
    form = make(store, A, key="packed-1")
    assert store.find(A) == form
    assert on_disk(store) == {f"{A}/packed-1"}


def test_committing_the_same_again_replaces_it(store: FormStore) -> None:
    make(store, A, size=10)
    assert make(store, A, size=2000).disk_bytes >= 2000
    assert store.find(A, "packed") is not None
    assert store.find(A, "mapped") is None


def test_what_a_crash_left_half_done_is_never_seen_and_goes_with_the_next_start(store: FormStore) -> None:
    folder = store.begin()
    (folder / "m.onnx").write_bytes(b"half")
    assert store.sizes() == {}
    again = FormStore(store.root)
    assert again.sizes() == {}
    assert not folder.exists()


def test_one_that_lost_its_description_is_not_opened_and_is_swept(store: FormStore) -> None:
    path = Path(make(store, A).path)
    path.chmod(0o700)
    (path / "form.json").chmod(0o600)
    (path / "form.json").write_text("{")
    again = FormStore(store.root)
    assert again.find(A) is None
    again.sweep({A}, {"packed-1"})
    assert on_disk(again) == set()


def test_sweeping_keeps_what_is_deployed_and_can_be_opened_here(store: FormStore) -> None:
    make(store, A, key="packed-stale")
    make(store, B, key="packed-1")
    store.sweep({A, B}, {"packed-1"})
    assert on_disk(store) == {f"{B}/packed-1"}
    store.sweep({A}, {"packed-1"})
    assert on_disk(store) == set()
    assert store.find(B) is None


def test_readers_of_a_removed_form_go_on(store: FormStore) -> None:
    form = make(store, A)
    with (Path(form.path) / "m.onnx").open("rb") as reader:
        store.remove(A, form.key)
        store.remove(A, form.key)
        assert reader.read() == b"g" * 1000


def test_artifacts_come_before_forms_when_the_disk_budget_is_short(store: FormStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "m.onnx").write_bytes(b"m" * 3000)
    make(store, A, size=4000)
    small = make(store, B, size=500)
    artifacts = LocalStore(tmp_path / "store", budget_bytes=6000, forms=store)
    artifacts.put(source, ("m.onnx",), model="m")
    assert store.find(A) is None, "the largest goes, which is enough"
    assert store.find(B) == small


def test_forms_stay_where_all_of_them_would_not_be_enough(store: FormStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "m.onnx").write_bytes(b"m" * 9000)
    form = make(store, A)
    with pytest.raises(DoesNotFitError, match="disk budget"):
        LocalStore(tmp_path / "store", budget_bytes=6000, forms=store).put(source, ("m.onnx",), model="m")
    assert store.find(A) == form
