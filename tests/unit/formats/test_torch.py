"""What we read from PyTorch's files is what PyTorch does once they are loaded."""

from pathlib import Path
from typing import Any

import pytest

from sizewise.core.tensors import TensorSpec
from sizewise.formats import inspect
from sizewise.protocols.errors import ModelFileError

pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def module(torch: Any) -> Any:
    class Two(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(4, 8)
            self.norm = torch.nn.BatchNorm1d(8)
            self.last = torch.nn.Linear(8, 3)

        def forward(self, x, scale):
            return self.last(torch.relu(self.norm(self.first(x)))) * scale, x.sum(1)

    return Two().eval()


@pytest.fixture(scope="module")
def weights(module: Any) -> dict[str, int]:
    """Elements and bytes of everything that PyTorch saves of the module."""
    tensors = list(module.state_dict().values())
    return {
        "parameters": sum(each.numel() for each in tensors),
        "bytes": sum(each.numel() * each.element_size() for each in tensors),
    }


@pytest.fixture(scope="module")
def exported(torch: Any, module: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Archives with a free and with a fixed batch dimension."""
    example = (torch.rand(3, 4), torch.rand(3, 1))
    batch = torch.export.Dim("batch", min=1, max=1024)
    paths = {}
    for free, shapes in ((True, {"x": {0: batch}, "scale": {0: batch}}), (False, None)):
        paths[free] = tmp_path_factory.mktemp("exported") / "m.pt2"
        torch.export.save(torch.export.export(module, example, dynamic_shapes=shapes), paths[free])
    return paths


@pytest.mark.parametrize("free", [True, False], ids=["free batch", "fixed batch"])
def test_export(torch: Any, exported: dict[bool, Path], weights: dict[str, int], free: bool) -> None:
    path, example = exported[free], (torch.rand(3, 4), torch.rand(3, 1))
    facts = inspect(path)
    first = -1 if free else 3
    assert (facts.platform, facts.runtime, facts.batchable) == ("pytorch_export", "torch", free)
    assert (facts.parameters, facts.weights_bytes) == (weights["parameters"], weights["bytes"])
    assert facts.inputs == (
        TensorSpec(name="x", datatype="FP32", shape=(first, 4)),
        TensorSpec(name="scale", datatype="FP32", shape=(first, 1)),
    )
    outputs = torch.export.load(path).module()(*example)
    assert [spec.name for spec in facts.outputs] == ["output__0", "output__1"]
    assert all(spec.accepts(tuple(each.shape)) for spec, each in zip(facts.outputs, outputs, strict=True))


@pytest.mark.parametrize("expression", ["x.shape[0] // 2", "x.shape[0] * 3 + 1", "max(x.shape[0], 8)"])
def test_shapes_that_are_computed_are_read(tmp_path: Path, torch: Any, expression: str) -> None:
    """Real programs of real expressions pass the check that keeps code out."""

    class Sized(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x):
            count = {"x.shape[0] // 2": x.shape[0] // 2, "x.shape[0] * 3 + 1": x.shape[0] * 3 + 1}.get(expression)
            return torch.zeros(torch.sym_max(x.shape[0], 8) if count is None else count) + x.sum()

    path = tmp_path / "m.pt2"
    batch = torch.export.Dim("batch", min=4, max=1024)
    torch.export.save(torch.export.export(Sized(), (torch.rand(6, 2),), dynamic_shapes=({0: batch},)), path)
    facts = inspect(path)
    assert facts.outputs[0].shape == (-1,)
    assert "at least 4" in facts.notes[0]


def test_half_precision_and_shared_weights(tmp_path: Path, torch: Any) -> None:
    layer = torch.nn.Linear(16, 16, bias=False).to(torch.bfloat16)
    torch.save({"a": layer.weight, "same": layer.weight, "part": layer.weight[:2]}, tmp_path / "m.pt")
    facts = inspect(tmp_path / "m.pt")
    assert facts.weight_bytes == (("BF16", 512),)
    assert facts.runtime is None


@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript(tmp_path: Path, torch: Any, module: Any, weights: dict[str, int], how: str) -> None:
    example = (torch.rand(3, 4), torch.rand(3, 1))
    made = torch.jit.script(module) if how == "script" else torch.jit.trace(module, example)
    path = tmp_path / "m.pt"
    made.save(path)
    facts = inspect(path)
    assert (facts.platform, facts.runtime) == ("pytorch_torchscript", "torch")
    assert (facts.parameters, facts.weights_bytes) == (weights["parameters"], weights["bytes"])
    assert [spec.shape for spec in facts.inputs] == ([] if how == "script" else [(-1, 4), (-1, 1)])
    assert facts.batchable is (how == "trace")


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "before 1.6"])
def test_state_dict(tmp_path: Path, torch: Any, module: Any, weights: dict[str, int], zipped: bool) -> None:
    path = tmp_path / "m.pth"
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=zipped)
    facts = inspect(path)
    assert (facts.platform, facts.runtime) == ("pytorch_state_dict", None)
    assert (facts.parameters, facts.weights_bytes) == (weights["parameters"], weights["bytes"])


def test_a_checkpoint_of_training(tmp_path: Path, torch: Any, module: Any) -> None:
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.rand(3, 4), torch.rand(3, 1))[0].sum().backward()
    optimizer.step()
    torch.save({"epoch": 3, "model": module.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "m.ckpt")
    assert (inspect(tmp_path / "m.ckpt").parameters or 0) > 2 * sum(each.numel() for each in module.parameters())


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "before 1.6"])
def test_a_whole_module_is_refused(tmp_path: Path, torch: Any, zipped: bool) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelFileError, match=r"torch.nn.modules.linear.Linear.*torch.export.save"):
        inspect(tmp_path / "m.pt")


def test_a_real_expression_with_code_in_it_is_refused(tmp_path: Path, torch: Any, exported: dict[bool, Path]) -> None:
    """What PyTorch itself would run: the same program with one dimension replaced."""
    trace = tmp_path / "trace"
    archive = torch._C.PyTorchFileReader(str(exported[True]))
    changed = torch._C.PyTorchFileWriter(str(tmp_path / "bad.pt2"))
    for name in archive.get_all_records():
        data = archive.get_record(name)
        if name.endswith("model.json"):
            code = f"__import__('os').mkdir('{trace}') or Symbol("
            data = data.replace(b"Symbol(", code.encode())
        if name not in ("version", ".data/version", "byteorder", ".data/serialization_id"):
            changed.write_record(name, data, len(data))
    changed.write_end_of_file()
    with pytest.raises(ModelFileError, match="where a dimension should be"):
        inspect(tmp_path / "bad.pt2")
    assert not trace.exists()
