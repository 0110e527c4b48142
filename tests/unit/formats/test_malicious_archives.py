"""Archives, and scikit-learn models in them, that ask for more than a model may have."""

import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from tests.unit.formats.conftest import archive, repack
from tests.unit.formats.test_malicious import refused, written

Members = dict[str, bytes]

SCHEMA = archive({"schema.json": b'{"__class__": "X", "__module__": "sklearn.x"}'})


def linked_member() -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        info = zipfile.ZipInfo("schema.json")
        info.external_attr = 0o120777 << 16
        packed.writestr(info, "/etc/passwd")
    return stream.getvalue()


def doubled() -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("schema.json", "{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            packed.writestr("schema.json", "{}")
    return stream.getvalue()


def with_entry(data: bytes, offset: int, form: str, value: int) -> bytes:
    """The first entry of the directory with a field overwritten."""
    changed = bytearray(data)
    struct.pack_into(form, changed, data.index(b"PK\x01\x02") + offset, value)
    return bytes(changed)


def directory_elsewhere() -> bytes:
    changed = bytearray(SCHEMA)
    struct.pack_into("<I", changed, SCHEMA.index(b"PK\x05\x06") + 12, 10**6)
    return bytes(changed)


ARCHIVES: list[tuple[str, Callable[[], bytes], str]] = [
    ("member upwards", lambda: archive({"../schema.json": b"{}"}), "leave its folder"),
    ("member in the middle upwards", lambda: archive({"a/../../schema.json": b"{}"}), "leave its folder"),
    ("absolute member", lambda: archive({"/schema.json": b"{}"}), "leave its folder"),
    ("member that is a link", linked_member, "link or a device"),
    ("two members of one name", doubled, "two members"),
    ("encrypted member", lambda: with_entry(SCHEMA, 8, "<H", 1), "encrypted"),
    ("unknown method", lambda: with_entry(SCHEMA, 10, "<H", 14), "method 14"),
    ("declared larger than it is", lambda: with_entry(SCHEMA, 24, "<I", 10**9), "bytes in"),
    ("bomb", lambda: archive({"schema.json": bytes(100 * 1024**2)}, compress=True), "100 MiB"),
    (
        "bomb by its directory",
        lambda: with_entry(with_entry(SCHEMA, 10, "<H", 8), 24, "<I", 2**31),
        "unpacks",
    ),
    ("member behind the end", lambda: with_entry(SCHEMA, 42, "<I", 10**6), "cut off"),
    ("member elsewhere", lambda: with_entry(SCHEMA, 42, "<I", 4), "damaged member"),
    ("directory elsewhere", directory_elsewhere, "damaged directory"),
    ("other name inside", lambda: SCHEMA.replace(b"schema.json", b"tchema.json", 1), "another name inside"),
    ("cut off", lambda: SCHEMA[:-1], "without its directory"),
    ("something behind", lambda: SCHEMA + b"PK", "without its directory"),
]


@pytest.mark.parametrize(("craft", "says"), [pytest.param(craft, says, id=name) for name, craft, says in ARCHIVES])
def test_archives(tmp_path: Path, craft: Callable[[], bytes], says: str) -> None:
    assert says in refused(written(tmp_path, craft(), "m.skops"))


def npy(array: np.ndarray) -> bytes:
    stream = BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def change_tree(field: str, value: int) -> Callable[[Members], object]:
    """The root of the first decision tree with one field overwritten."""

    def change(members: Members) -> None:
        name = next(name for name, data in members.items() if b"left_child" in data[:2000] and name != "schema.json")
        nodes = np.load(BytesIO(members[name]))
        nodes[field][0] = value
        members[name] = npy(nodes)

    return change


def change_array(make: Callable[[bytes], bytes]) -> Callable[[Members], object]:
    def change(members: Members) -> None:
        name = next(each for each in members if each.endswith(".npy"))
        members[name] = make(members[name])

    return change


def widened(data: bytes) -> bytes:
    shape = repr(np.load(BytesIO(data)).shape).encode()
    return data.replace(shape, b"(9999999,)").replace(b" " * (10 - len(shape)) + b"\n", b"\n", 1)


SKOPS: list[tuple[str, Callable[[Members], object], str]] = [
    ("child outside the tree", change_tree("left_child", 10**9), "lead outside"),
    ("child that leads back", change_tree("right_child", 0), "lead outside"),
    ("feature that is not there", change_tree("feature", 1000), "feature"),
    ("negative feature", change_tree("feature", -100), "feature"),
    ("array of objects", change_array(lambda _: npy(np.array([{}], dtype=object))), "pickle"),
    ("array cut off", change_array(lambda data: data[:-1]), "in a member of"),
    ("array with more behind", change_array(lambda data: data + b"x"), "in a member of"),
    ("array of another shape", change_array(widened), "in a member of"),
    ("no array", lambda members: members.pop(next(each for each in members if each.endswith(".npy"))), "no member"),
    ("schema of no JSON", lambda members: members.update({"schema.json": b"{"}), "damaged schema"),
    ("deep schema", lambda members: members.update({"schema.json": b"[" * 10**6}), "damaged schema"),
    ("schema of a list", lambda members: members.update({"schema.json": b"[]"}), "not a JSON object"),
]


@pytest.mark.parametrize(("change", "says"), [pytest.param(change, says, id=name) for name, change, says in SKOPS])
def test_skops(tmp_path: Path, skops_bytes: bytes, change: Callable[[Members], object], says: str) -> None:
    assert says in refused(written(tmp_path, repack(skops_bytes, change), "m.skops"))


def test_a_forest_checks_its_input_for_all_its_trees(tmp_path: Path, skops_bytes: bytes) -> None:
    """The forest says two features, its trees four: they would read behind the row."""

    def change(members: Members) -> None:
        schema = members["schema.json"].decode()
        forest = schema.rindex('"n_features_in_"')
        members["schema.json"] = (
            schema[:forest] + schema[forest:].replace('"content": "4"', '"content": "1"', 1)
        ).encode()

    assert "feature" in refused(written(tmp_path, repack(skops_bytes, change), "m.skops"))
