"""ONNX files and model folders that ask for more than a model may have: each is refused in one line.

Archives and other formats: test_malicious_archives.py and test_malicious_others.py.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto

from sizewise.formats import inspect
from sizewise.protocols.errors import ModelFileError
from tests.unit.formats.test_onnx import external, identity, varint

Craft = Callable[[Path], Path]


def refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        inspect(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    assert message.startswith(str(path))
    return message


def written(folder: Path, data: bytes, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def outside(folder: Path) -> Path:
    """A file that a model has no business with."""
    path = folder.parent / "secret.bin"
    path.write_bytes(bytes(24))
    return path


def symlink(folder: Path) -> Path:
    (folder / "w.bin").symlink_to(outside(folder))
    return external(folder, data=b"")


def hard_link(folder: Path) -> Path:
    (folder / "w.bin").hardlink_to(outside(folder))
    return external(folder, data=b"")


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "w.bin")
    return external(folder, data=b"")


def directory(folder: Path) -> Path:
    (folder / "w.bin").mkdir()
    return external(folder, data=b"")


def through_link(folder: Path) -> Path:
    outside(folder)
    (folder / "sub").symlink_to(folder.parent)
    return external(folder, location="sub/secret.bin")


def memory(folder: Path) -> Path:
    """onnxruntime takes this name for an address in its own memory."""
    (folder / "*/_ORT_MEM_ADDR_").mkdir(parents=True)
    (folder / "*/_ORT_MEM_ADDR_/*").write_bytes(bytes(24))
    return external(folder, location="*/_ORT_MEM_ADDR_/*")


def twice(folder: Path) -> Path:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3], data_location=TensorProto.EXTERNAL)
    for location in ("w.bin", "../secret.bin"):
        tensor.external_data.add(key="location", value=location)
    (folder / "w.bin").write_bytes(bytes(24))
    return written(folder, identity(["n"], weights=[tensor]))


def weight(**fields: Any) -> Craft:
    def craft(folder: Path) -> Path:
        given = {"name": "w", "data_type": TensorProto.FLOAT, "dims": [2, 3], "raw_data": bytes(24), **fields}
        return written(folder, identity(["n"], weights=[TensorProto(**given)]))

    return craft


def without_data(folder: Path) -> Path:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 3])
    return written(folder, identity(["n"], weights=[tensor]))


def nested_graphs(folder: Path) -> Path:
    """By hand: protobuf itself refuses to write what is deeper than a hundred."""
    graph = b""
    for _ in range(200):
        # An attribute with a graph, in a node, in a graph
        for number in (6, 5, 1):
            graph = bytes((number << 3 | 2,)) + varint(len(graph)) + graph
    return written(folder, b"\x42\x00\x3a" + varint(len(graph)) + graph)


ONNX: list[tuple[str, Craft, str]] = [
    ("absolute path", lambda folder: external(folder, location=str(outside(folder))), "inside its folder"),
    ("path upwards", lambda folder: external(folder, location=f"../{outside(folder).name}"), "inside its folder"),
    ("path up and down", lambda folder: external(folder, location="a/../w.bin"), "inside its folder"),
    ("backslashes", lambda folder: external(folder, location="..\\w.bin"), "inside its folder"),
    ("zero byte", lambda folder: external(folder, location="w/\0"), "inside its folder"),
    ("no location", lambda folder: external(folder, location="", data=b""), "inside its folder"),
    ("symbolic link", symlink, "symbolic link"),
    ("hard link", hard_link, "hard link"),
    ("named pipe", pipe, "named pipe"),
    ("folder for a file", directory, "a folder"),
    ("path through a link", through_link, "not a folder"),
    ("address in memory", memory, "address in memory"),
    ("location twice", twice, "twice"),
    ("missing file", lambda folder: external(folder, location="gone.bin", data=b""), "not there"),
    ("file too short", lambda folder: external(folder, data=bytes(20)), "which has 20"),
    ("offset behind the end", lambda folder: external(folder, offset="8"), "which has 24"),
    ("length behind the end", lambda folder: external(folder, length="1000"), "declares"),
    ("length too small", lambda folder: external(folder, length="8"), "declares 8 B"),
    ("negative offset", lambda folder: external(folder, offset="-8"), "offset"),
    ("offset of no number", lambda folder: external(folder, offset="8x"), "offset"),
    ("offset that wraps", lambda folder: external(folder, offset=str(2**64 - 8)), "offset"),
    ("too few bytes inside", weight(raw_data=bytes(20)), "declares 24 B and holds 20 B"),
    ("too many bytes inside", weight(raw_data=bytes(28)), "declares 24 B and holds 28 B"),
    ("no bytes inside", without_data, "declares 6 values and holds 0"),
    ("negative dimension", weight(dims=[-2, 3]), "dimension of -2"),
    ("dimensions that overflow", weight(dims=[2**32, 2**32, 2**32]), "more elements"),
    ("huge dimension", weight(dims=[2**62]), "dimension of"),
    ("unknown datatype", weight(data_type=99), "datatype 99"),
    ("graphs in graphs", nested_graphs, "graphs more than"),
    ("two graphs", lambda folder: written(folder, identity(["n"]) * 2), "2 graphs"),
    ("empty", lambda folder: written(folder, b""), "is empty"),
    ("text", lambda folder: written(folder, b"hello world, this is no model"), "unknown kind"),
]


@pytest.mark.parametrize(("craft", "says"), [pytest.param(craft, says, id=name) for name, craft, says in ONNX])
def test_onnx(tmp_path: Path, craft: Craft, says: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    assert says in refused(craft(folder))


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda path: path.symlink_to(__file__), "symbolic link", id="symbolic link"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), "symbolic link", id="link to a device"),
        pytest.param(lambda path: path.hardlink_to("m.onnx"), "hard link", id="hard link"),
        pytest.param(os.mkfifo, "named pipe", id="named pipe"),
        pytest.param(unix_socket, "socket", id="socket"),
    ],
)
def test_side_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, onnx_bytes: bytes, make: Callable[[Path], None], says: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may have 107 bytes
    written(tmp_path, onnx_bytes)
    make(Path("side.bin"))
    assert says in refused(tmp_path)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null"])
def test_devices(name: str) -> None:
    assert "device" in refused(Path(name))


def test_a_link_is_not_followed(tmp_path: Path, onnx_bytes: bytes) -> None:
    written(tmp_path, onnx_bytes)
    link = tmp_path / "link.onnx"
    link.symlink_to("m.onnx")
    assert "name the file that it leads to" in refused(link)


def test_what_is_not_there(tmp_path: Path) -> None:
    assert "is not there" in refused(tmp_path / "none.onnx")
