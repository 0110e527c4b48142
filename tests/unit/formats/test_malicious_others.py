"""Pickles, PyTorch archives and all other formats that ask for more than a model may have."""

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sizewise.formats import inspect
from tests.unit.formats.conftest import archive, safetensors
from tests.unit.formats.test_malicious import refused, written

Case = tuple[str, str, Callable[[], bytes], str]


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 1",)


def torch_archive(pickled: bytes) -> bytes:
    return archive({"m/data.pkl": pickled, "m/version": b"3"})


def script(code: bytes) -> bytes:
    pickles = {"m/data.pkl": pickle.dumps({}, 2), "m/constants.pkl": pickle.dumps((), 2)}
    return archive({**pickles, "m/code/__torch__.py": code})


def program(
    *,
    expression: str = "Symbol('s0')",
    target: str = "torch.ops.aten.relu.default",
    guards: tuple[str, ...] = (),
    members: dict[str, bytes] | None = None,
) -> bytes:
    """An exported program with one tensor in and out."""
    meta = {"dtype": 7, "sizes": [{"as_expr": {"expr_str": expression}}, {"as_int": 2}]}
    user = {"arg": {"as_tensor": {"name": "x"}}}
    graph = {"nodes": [{"target": target, "inputs": [], "outputs": []}], "tensor_values": {"x": meta}}
    signature = {"input_specs": [{"user_input": user}], "output_specs": [{"user_output": user}]}
    text = json.dumps({"graph_module": {"graph": graph, "signature": signature}, "guards_code": guards})
    return archive({"m/archive_format": b"pt2", "m/models/model.json": text.encode(), **(members or {})})


def hole() -> bytes:
    text = json.dumps({"w": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(3)


def same_names() -> bytes:
    entry = '"w": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}'
    text = f"{{{entry}, {entry}}}".encode()
    return len(text).to_bytes(8, "little") + text + bytes(1)


def lightgbm(tree: bytes, size: int | None = None) -> bytes:
    head = b"tree\nversion=v4\nnum_class=1\nmax_feature_idx=3\nobjective=regression\ntree_sizes=%d\n\n"
    return head % (len(tree) if size is None else size) + tree + b"end of trees\n"


PYTHON = b"def load(): ...\ndef predict(model, inputs): ...\n"
UBJ = b"{L" + bytes(7) + b"\x07learner"

PICKLES: list[Case] = [
    ("pickle", "m.pkl", lambda: pickle.dumps(Bomb()), "m.skops"),
    ("old pickle", "m.pkl", lambda: pickle.dumps(Bomb(), 0), "sizewise convert /"),
    ("joblib", "m.joblib", lambda: pickle.dumps(Bomb(), 3), "m.skops"),
    ("compressed joblib", "m.joblib", lambda: b"\x78\x9c" + bytes(50), "sizewise convert /"),
    ("pickle under another name", "m.onnx", lambda: pickle.dumps(Bomb()), "sizewise convert /"),
    ("name for a shell", "a b;c.pkl", lambda: pickle.dumps(Bomb()), "a b;c.skops'"),
    ("pickle for PyTorch", "m.pt", lambda: pickle.dumps(Bomb()), "is a pickle"),
    ("pickle in a PyTorch archive", "m.pt", lambda: torch_archive(pickle.dumps(Bomb(), 2)), "would run"),
    ("type by number", "m.pt", lambda: torch_archive(b"\x80\x02\x82\x01."), "by the number"),
    ("type by a computed name", "m.pt", lambda: torch_archive(b"\x80\x04NN\x93."), "hides the name"),
    ("pickle cut off", "m.pt", lambda: torch_archive(b"\x80\x02(lp0"), "cut off"),
    ("huge memo", "m.pt", lambda: torch_archive(b"\x80\x02Nr\xff\xff\xff\xff."), "without tensors"),
    ("huge text", "m.pt", lambda: torch_archive(b"\x80\x04\x8d" + b"\xff" * 7 + b"\x00."), "cut off"),
]

TORCH: list[Case] = [
    ("script that writes files", "m.pt", lambda: script(b"torch.save(x, 'x')"), "reads or writes files"),
    ("script that reads files", "m.pt", lambda: script(b"torch.from_file('x', False, 9)"), "reads or writes files"),
    ("native code", "m.pt2", lambda: program(members={"m/data/aotinductor/model/a.so": b"x"}), "native code"),
    ("expression that runs", "m.pt2", lambda: program(expression="__import__('os').system('id')"), "dimension"),
    ("expression that calls", "m.pt2", lambda: program(expression="exec('1')"), "dimension"),
    ("expression of attributes", "m.pt2", lambda: program(expression="Symbol.mro()"), "dimension"),
    ("expression of text", "m.pt2", lambda: program(expression="Symbol('a').__class__"), "dimension"),
    ("endless expression", "m.pt2", lambda: program(expression="(" * 1500), "dimension"),
    ("guard that runs", "m.pt2", lambda: program(guards=("print(open('x').read())",)), "dimension"),
    ("guard of attributes", "m.pt2", lambda: program(guards=("L['x'].size.__self__.save()",)), "dimension"),
    ("call of no operation", "m.pt2", lambda: program(target="torch.hub.load"), "no tensor operation"),
    ("operation on files", "m.pt2", lambda: program(target="torch.ops.aten.from_file.default"), "no tensor operation"),
    (
        "sample inputs that run",
        "m.pt2",
        lambda: program(members={"m/data/sample_inputs/model.pt": torch_archive(pickle.dumps(Bomb(), 2))}),
        "would run",
    ),
    ("objects", "m.pt2", lambda: program(members={"m/data/constants/custom_obj_0": b"x"}), "other types"),
    ("older archive", "m.pt2", lambda: archive({"serialized_exported_program.json": b"{}"}), "older PyTorch"),
    ("no archive", "m.pt2", lambda: bytes(100), "cut off"),
]

OTHERS: list[Case] = [
    ("tensor of another size", "m.safetensors", lambda: safetensors({"w": ("F32", [2])}, {"w": 4}), "declares 4"),
    ("hole between tensors", "m.safetensors", hole, "leave a gap"),
    ("header longer than the file", "m.safetensors", lambda: struct.pack("<Q", 10**9) + b"{}", "declares a header"),
    ("two tensors of one name", "m.safetensors", same_names, "one name"),
    ("negative size", "m.safetensors", lambda: safetensors({"w": ("F32", [-1])}, {"w": 0}), "dimension"),
    ("array without end", "m.ubj", lambda: UBJ + b"{U\x01a[$d#L" + b"\x7f" * 8, "cut off"),
    ("depth", "m.ubj", lambda: UBJ + b"{U\x01a[" + b"[" * 10**5, "deeper"),
    ("negative features", "m.json", lambda: b'{"version": [3], "learner": {"gradient_booster": {}}}', "booster"),
    ("number of many digits", "m.json", lambda: b'{"learner": ' + b"9" * 10**5 + b"}", "damaged JSON"),
    ("leaves without text", "m.txt", lambda: lightgbm(b"Tree=0\nnum_leaves=999999999\n"), "leaves in"),
    ("trees behind the end", "m.txt", lambda: lightgbm(b"Tree=0\nnum_leaves=2\nabcd\n", size=10**9), "ends at byte"),
    ("unknown", "m.bin", lambda: b"hello world, this is no model", "supported: ONNX"),
    ("Keras", "m.h5", lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "tf2onnx"),
    ("Python without functions", "m.py", lambda: b"import os\nos.system('exit 1')\n", "no function load()"),
    ("no Python", "m.py", lambda: b"def load(:", "not valid Python"),
    ("deep Python", "m.py", lambda: b"x = " + b"(" * 10**5, "not valid Python"),
    ("computed inputs", "m.py", lambda: PYTHON + b"INPUTS = [open('x')]", "plain values"),
    ("inputs without a shape", "m.py", lambda: PYTHON + b"INPUTS = [{'name': 'x'}]", "write {"),
    ("predict of one argument", "m.py", lambda: b"def load(): ...\ndef predict(x): ...", "2 arguments"),
]


@pytest.mark.parametrize(
    ("name", "craft", "says"),
    [pytest.param(name, craft, says, id=case) for case, name, craft, says in (*PICKLES, *TORCH, *OTHERS)],
)
def test_refused(tmp_path: Path, name: str, craft: Callable[[], bytes], says: str) -> None:
    assert says in refused(written(tmp_path, craft(), name))


def test_the_command_that_helps(tmp_path: Path) -> None:
    path = written(tmp_path, pickle.dumps(Bomb()), "m.pkl")
    assert refused(path).endswith(f": sizewise convert {path} -o {path.with_suffix('.skops')}")


def test_a_sound_program_is_read(tmp_path: Path) -> None:
    """So that the refusals above are due to what each of them changed."""
    assert inspect(written(tmp_path, program(guards=("L['x'].size()[0] <= 8",)), "m.pt2")).runtime == "torch"


def test_python_is_parsed_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = written(tmp_path, PYTHON + f"open({str(trace)!r}, 'w')\n".encode(), "m.py")
    assert inspect(path).runtime == "python"
    assert not trace.exists()
