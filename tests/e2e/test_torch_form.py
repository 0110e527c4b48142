"""torch.export programs with mapped weights: the same answers, and pages that replicas share."""

# mypy: disallow-subclassing-any=False

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from sizewise.core.forms import TENSORS, wanted
from sizewise.core.units import GIB
from sizewise.formats import inspect
from sizewise.profiling.estimate import estimate
from sizewise.protocols.errors import ModelFileError
from sizewise.runtimes import ModelFiles
from sizewise.runtimes.forms import alike, make
from sizewise.runtimes.torch_form import ENTRY, WEIGHTS
from tests.e2e.warm_replicas import Client, warm

pytestmark = pytest.mark.heavy

TARGET = "m@1"
WIDTH = 1536
X = np.random.default_rng(3).standard_normal((3, 64), dtype=np.float32)


def network() -> Any:
    """30 MB, with what programs have besides plain parameters: buffers, one of another type and one that is shared."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(64, WIDTH)
            self.norm = torch.nn.BatchNorm1d(WIDTH)
            self.wide = torch.nn.ModuleList([torch.nn.Linear(WIDTH, WIDTH) for _ in range(3)])
            self.last = torch.nn.Linear(WIDTH, 5)
            self.register_buffer("scale", torch.full((5,), 0.5, dtype=torch.bfloat16))
            self.register_buffer("mask", torch.tensor([True, True, False, True, True]))
            self.register_buffer("loose", torch.arange(5.0), persistent=False)

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.norm(self.first(x)))
            for layer in (*self.wide, self.wide[0]):
                x = torch.tanh(layer(x))
            return self.last(x) * self.scale.float() * self.mask + self.loose + torch.tensor([1.0, 2, 3, 4, 5])

    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    import torch

    folder = tmp_path_factory.mktemp("program")
    shapes = ({0: torch.export.Dim("rows")},)
    torch.export.save(
        torch.export.export(network(), (torch.zeros(2, 64),), dynamic_shapes=shapes), folder / "model.pt2"
    )
    facts = inspect(folder / "model.pt2")
    return ModelFiles(path=folder, entry="model.pt2", inputs=facts.inputs, outputs=facts.outputs)


@pytest.fixture(scope="module")
def form(files: ModelFiles) -> Path:
    folder = files.path / "forms" / "hash" / "key"
    folder.mkdir(parents=True)
    assert make(TENSORS, files, folder) == ENTRY  # it has been asked the same as the model, and answered alike
    return folder


def test_its_weights_are_beside_the_program_and_are_sound_safetensors(files: ModelFiles, form: Path) -> None:
    weighed = inspect(files.file)
    assert wanted(weighed, estimate(weighed), room_bytes=GIB) is not None
    assert (form / ENTRY).stat().st_size < 0.05 * weighed.weights_bytes
    found = inspect(form / WEIGHTS)
    assert found.weights_bytes == pytest.approx(weighed.weights_bytes, rel=0.01)


def load(client: Client, files: ModelFiles, form: Path | None) -> None:
    specs = [{"name": s.name, "datatype": s.datatype, "shape": s.shape} for s in files.inputs]
    outputs = [{"name": s.name, "datatype": s.datatype, "shape": s.shape} for s in files.outputs]
    named = None if form is None else {"name": TENSORS, "path": str(form), "entry": ENTRY}
    declared = {"max_batch": 3, "form": named, "inputs": specs, "outputs": outputs}
    report = client.load(TARGET, "torch", files.path, files.entry, **declared)
    assert report.status == 200, report.body
    assert orjson.loads(report.body)["settled"]


def infer(client: Client, files: ModelFiles) -> np.ndarray[Any, Any]:
    tensor = {"name": files.inputs[0].name, "shape": X.shape, "datatype": "FP32", "data": X.reshape(-1).tolist()}
    answer = client.ask(client.infer(TARGET, {"inputs": [tensor]}))
    assert answer.status == 200, answer.body
    return np.array(orjson.loads(answer.body)["outputs"][0]["data"], np.float32)


def pages_of(pid: int, file: Path) -> dict[str, int]:
    """Bytes of one mapped file, by what the kernel says of them."""
    sizes: dict[str, int] = {}
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            inside = line.endswith(str(file))
        elif inside and words[-1] == "kB":
            sizes[words[0][:-1]] = sizes.get(words[0][:-1], 0) + int(words[1]) * 1024
    return sizes


def test_replicas_answer_alike_and_share_its_pages(files: ModelFiles, form: Path) -> None:
    size = (form / WEIGHTS).stat().st_size
    with warm("torch") as parent:
        pids = [parent.fork(name) for name in ("plain", "one", "two")]
        with parent.client("plain") as plain, parent.client("one") as one, parent.client("two") as two:
            load(plain, files, None)
            expected = infer(plain, files)
            for client in (one, two):
                load(client, files, form)
                assert alike(expected, infer(client, files))
            pages = pages_of(pids[2], form / WEIGHTS)
            assert pages["Rss"] > 0.9 * size, "what it answers with is the file"
            assert pages["Pss"] < 0.6 * size
            private = pages["Private_Clean"] + pages["Private_Dirty"]
            assert private < 0.1 * size
            assert pages_of(pids[0], form / WEIGHTS) == {}


def test_what_does_not_fit_the_format_is_served_as_it_is(tmp_path: Path) -> None:
    import torch

    class Complex(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("k", torch.ones(3, dtype=torch.complex64))

        def forward(self, x: Any) -> Any:
            return x * self.k.real

    torch.export.save(torch.export.export(Complex(), (torch.zeros(2, 3),)), tmp_path / "model.pt2")
    (tmp_path / "form").mkdir()
    with pytest.raises(ModelFileError, match="complex64"):
        make(TENSORS, ModelFiles(path=tmp_path, entry="model.pt2"), tmp_path / "form")
