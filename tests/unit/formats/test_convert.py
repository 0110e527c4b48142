"""Pickles become skops files that answer the same; what is not trusted is listed and never built."""

import bz2
import gzip
import lzma
import os
import pickle
import subprocess
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io

from sizewise.formats import ConvertLimits, UntrustedTypesError, convert, convert_child, inspect
from sizewise.formats.confine import Source
from sizewise.formats.convert_check import answers_alike
from sizewise.formats.pickle_names import open_pickle
from sizewise.formats.safe_unpickler import load
from sizewise.formats.trusted import PICKLE_TRUSTED
from sizewise.protocols.errors import ModelFileError, UsageError

Save = Callable[[Any, Path], object]


class Bomb:
    """Leaves a trace when it is built."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def pickled(protocol: int) -> Save:
    def save(model: Any, path: Path) -> None:
        path.write_bytes(pickle.dumps(model, protocol))

    return save


def packed(pack: Callable[[bytes], bytes]) -> Save:
    def save(model: Any, path: Path) -> None:
        stream = BytesIO()
        joblib.dump(model, stream)
        path.write_bytes(pack(stream.getvalue()))

    return save


SAVES = [
    pytest.param(pickled(2), id="pickle 2"),
    pytest.param(pickled(5), id="pickle 5"),
    pytest.param(joblib.dump, id="joblib"),
    pytest.param(packed(gzip.compress), id="gzip"),
    pytest.param(packed(zlib.compress), id="zlib"),
    pytest.param(packed(bz2.compress), id="bzip2"),
    pytest.param(packed(lzma.compress), id="xz"),
    pytest.param(lambda model, path: joblib.dump(model, path, compress=3), id="joblib, compressed"),
]


@pytest.mark.parametrize("save", SAVES)
def test_every_way_to_save(tmp_path: Path, forest: Any, table: np.ndarray, save: Save) -> None:
    save(forest, tmp_path / "m.pkl")
    result = convert_child.convert(tmp_path / "m.pkl", tmp_path / "m.skops", frozenset())
    assert result["estimator"] == "RandomForestClassifier"
    assert result["checked_rows"] == 64
    loaded = skops.io.load(tmp_path / "m.skops", trusted=["sklearn.tree._tree.Tree"])
    assert np.array_equal(loaded.predict_proba(table), forest.predict_proba(table))


def test_in_a_child(tmp_path: Path, forest: Any) -> None:
    source, target = tmp_path / "m.pkl", tmp_path / "m.skops"
    joblib.dump(forest, source)
    report = convert(source, target, trusted=frozenset())
    assert report.facts == inspect(target)
    assert "sklearn.tree._tree.Tree" in report.names
    assert report.consented == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.pkl", "m.skops"]


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("where", ["attribute", "array of objects", "nested array"])
def test_what_is_not_trusted_is_listed_and_not_built(tmp_path: Path, save: Save, where: str) -> None:
    from sklearn.linear_model import LogisticRegression

    model, bomb = LogisticRegression(), Bomb(tmp_path / "trace")
    inner = np.array([bomb, None], dtype=object)
    model.hidden_ = {"attribute": bomb, "array of objects": inner, "nested array": np.array([inner, 1], dtype=object)}[
        where
    ]
    save(model, tmp_path / "m.pkl")
    result = convert_child.convert(tmp_path / "m.pkl", tmp_path / "m.skops", frozenset())
    assert result == {"untrusted": ["posix.mkdir"]}
    with Source(tmp_path / "m.pkl") as source, pytest.raises(pickle.UnpicklingError, match="mkdir"):
        load(open_pickle(source), PICKLE_TRUSTED)
    assert not (tmp_path / "trace").exists()


def test_a_child_lists_too(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    with pytest.raises(UntrustedTypesError) as caught:
        convert(tmp_path / "m.pkl", tmp_path / "m.skops", trusted=frozenset())
    assert caught.value.types == ("posix.mkdir",)
    assert "posix.mkdir" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["m.pkl"]


def test_consent_is_by_name(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    with pytest.raises(ModelFileError, match="not a fitted model"):
        convert(tmp_path / "m.pkl", tmp_path / "m.skops", trusted=frozenset({"posix.mkdir"}))
    assert (tmp_path / "trace").exists()


def stopped(tmp_path: Path, call: tuple[Any, ...], limits: ConvertLimits) -> str:
    class Slow:
        def __reduce__(self) -> tuple[Any, ...]:
            return call

    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Slow()))
    name = f"{call[0].__module__}.{call[0].__qualname__}"
    with pytest.raises(ModelFileError) as caught:
        convert(tmp_path / "m.pkl", tmp_path / "m.skops", trusted=frozenset({name}), limits=limits)
    assert not (tmp_path / "m.skops").exists()
    assert not list(tmp_path.glob(".convert-*"))
    return str(caught.value)


def test_time_is_bounded(tmp_path: Path) -> None:
    """And nothing that the pickle started goes on."""
    trace = tmp_path / "pid"
    call = (subprocess.call, (["sh", "-c", f"echo $$ > {trace}; exec sleep 1000"],))
    assert "not converted within 8.0 s" in stopped(tmp_path, call, ConvertLimits(timeout_s=8))
    # A machine that is busy may not have come as far as starting it
    if trace.exists():
        assert not is_running(int(trace.read_text()))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_memory_is_bounded(tmp_path: Path) -> None:
    assert "more memory" in stopped(tmp_path, (bytearray, (64 << 30,)), ConvertLimits(memory_bytes=4 << 30))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\x80\x04\x95", "cut off", id="cut off"),
        pytest.param(b"\x1f\x8b" + bytes(20), "cannot be converted", id="damaged gzip"),
        pytest.param(b"\x78\x9c" + bytes(20), "cannot be converted", id="damaged zlib"),
        pytest.param(b"\x04\x22\x4d\x18", "lz4", id="lz4"),
        pytest.param(pickle.dumps({"model": 1}), "not a fitted model", id="no model"),
    ],
)
def test_files_that_cannot_be_converted(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "m.pkl").write_bytes(data)
    with pytest.raises(ModelFileError, match=says):
        convert(tmp_path / "m.pkl", tmp_path / "m.skops", trusted=frozenset())


@pytest.mark.parametrize("name", ["m.onnx", "gone/m.skops"])
def test_targets_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        convert(tmp_path / "m.pkl", tmp_path / name, trusted=frozenset())


def test_a_difference_is_found(table: np.ndarray, labels: np.ndarray) -> None:
    from sklearn.linear_model import LogisticRegression

    one, other = LogisticRegression().fit(table, labels), LogisticRegression().fit(table, labels[::-1])
    assert answers_alike(one, one) == (64, "")
    with pytest.raises(ValueError, match="differs"):
        answers_alike(one, other)
