"""LOAD: from a message to a model that has answered once, now or when its form was made."""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from sizewise.core.forms import MAPPED
from sizewise.core.tensors import DATATYPE_BYTES, TensorSpec
from sizewise.core.units import MIB
from sizewise.protocols.errors import ModelFileError
from sizewise.protocols.oip import RequestError, Signature
from sizewise.protocols.oip.arrays import DTYPES, Array
from sizewise.protocols.oip.encode import datatype_of
from sizewise.runtimes import LoadedModel, ModelFiles, get_runtime
from sizewise.runtimes.base import FormFiles, FormRuntime, one_line
from sizewise.runtimes.forms import has_second
from sizewise.runtimes.synthetic import concrete_shape
from sizewise.system.memory import disk_read_bytes, mapped_bytes, release_memory, rss_anon_bytes
from sizewise.system.pagecache import in_memory, read_ahead

READ_SHARE = 0.9
"""With so much of a form in memory its first request waits for no disk."""
MAPPED_FROM_BYTES = MIB
"""Which pages of smaller artifacts are mapped is not worth a look, which takes a millisecond."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """Body of a LOAD frame. ``target`` is ``model@version``."""

    target: str
    runtime: str
    files: ModelFiles
    max_batch: int = 1
    self_check: bool = False

    @property
    def model(self) -> str:
        return self.target.rpartition("@")[0] or self.target

    @property
    def version(self) -> str:
        return self.target.rpartition("@")[2] if "@" in self.target else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    model: LoadedModel
    signature: Signature
    report: Mapping[str, Any]
    """Body of the answer to LOAD."""
    second: LoadRequest | None = None
    """What to open in its place once this one answers."""


def parse_load(body: bytes | memoryview) -> LoadRequest:
    """Raises RequestError naming what is missing."""
    try:
        message = orjson.loads(body)
        return LoadRequest(
            target=str(message["target"]),
            runtime=str(message["runtime"]),
            files=ModelFiles(
                path=Path(message["path"]),
                entry=str(message["entry"]),
                threads=max(1, int(message.get("threads", 1))),
                inputs=_specs(message.get("inputs", ())),
                outputs=_specs(message.get("outputs", ())),
                form=_form(message.get("form")),
            ),
            max_batch=max(1, int(message.get("max_batch", 1))),
            self_check=bool(message.get("self_check", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"LOAD is not complete: {type(error).__name__} {error}") from error


def _specs(items: Any) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=str(item["name"]), datatype=str(item["datatype"]), shape=tuple(map(int, item["shape"])))
        for item in items
    )


def _form(item: Any) -> FormFiles | None:
    return None if item is None else FormFiles(name=item["name"], path=Path(item["path"]), entry=item["entry"])


def load(request: LoadRequest, *, shared: bool = False) -> Loaded:
    """Load, warm up, weigh. Raises what the runtime raises; ModelFileError too when the self-check fails.

    ``shared``: other models are in this process. They are small, and map no weights.
    """
    base_bytes = rss_anon_bytes()
    read_bytes = disk_read_bytes()
    began_s = time.perf_counter()
    form = request.files.form
    # Looking costs what asking the kernel for pages that it has costs: one of them will do
    read = form is not None and in_memory(form.path.iterdir()) >= READ_SHARE
    may_map = read or (fetch(request.files.folders[-1]) >= MAPPED_FROM_BYTES and not shared)
    fetched_s = time.perf_counter()
    model, request = _opened(request)
    loaded_s = time.perf_counter()
    # A form has answered when it was made. Going through all that it maps is what the first request does anyway: to do
    # it before as well would double the time until that is answered, unless there is a disk to wait for
    formed = read and request.files.form is not None and not request.self_check
    problem = None if formed else warm_up(model)
    warm_s = time.perf_counter()
    if problem and request.self_check:
        raise ModelFileError(request.files.entry, f"self-check: {problem}", "load it without self_check to look at it")
    peak_bytes = rss_anon_bytes()
    release_memory()
    total_bytes = rss_anon_bytes()
    times = {
        "start_s": 0,
        "fetch_s": fetched_s - began_s,
        "load_s": loaded_s - fetched_s,
        "warmup_s": warm_s - loaded_s,
        "disk_bytes": disk_read_bytes() - read_bytes,
    }
    memory = {
        "base_bytes": base_bytes,
        "resident_bytes": max(0, total_bytes - base_bytes),
        "mapped_bytes": sum(map(mapped_bytes, request.files.folders)) if may_map else 0,
        "per_request_bytes": 0,
        "peak_bytes": max(base_bytes, peak_bytes),
    }
    signature = replace(model.signature, batchable=request.max_batch > 1)
    tensors = {
        "inputs": [_json(spec) for spec in signature.inputs],
        "outputs": [_json(spec) for spec in signature.outputs],
    }
    second = request if has_second(request.runtime, request.files) else None
    stage = {"stage": MAPPED if request.files.form else "", "settled": second is None}
    report = {"load": times, "memory": memory, **tensors, "warning": problem, **stage}
    return Loaded(model=model, signature=signature, report=report, second=second)


def _opened(request: LoadRequest) -> tuple[LoadedModel, LoadRequest]:
    """From its load-ready form, or as it was deployed; and what was loaded."""
    runtime, form = get_runtime(request.runtime), request.files.form
    if form is not None and isinstance(runtime, FormRuntime):
        try:
            return runtime.load_form(request.files, second=False), request
        except Exception as error:  # whatever is wrong with it: the model itself is there
            log.warning("form %s of %s cannot be opened: %s", form.name, request.target, one_line(error))
    plain = replace(request, files=replace(request.files, form=None))
    return runtime.load(plain.files), plain


def _json(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def fetch(folder: Path) -> int:
    """Have the artifact read ahead, all files at once; their bytes."""
    return sum(
        read_ahead(os.path.join(parent, name))  # noqa: PTH118 - 0.3 ms less
        for parent, _, names in os.walk(folder)
        for name in names
    )


def warm_up(model: LoadedModel) -> str | None:
    """Answer zeros once, so that the first client does not pay for what is done once.

    None when the outputs are as declared, or when the input is not known well enough to judge (a dimension besides
    the batch varies, or it is text): then a refusal may be right. Otherwise what is wrong, in one line.
    """
    signature = model.signature
    if not signature.inputs:
        return None
    judge = all(spec.datatype != "BYTES" and -1 not in spec.shape[1:] for spec in signature.inputs)
    try:
        outputs = model.run({spec.name: zeros(spec) for spec in signature.inputs}, ())
        problem = mismatch(outputs, signature)
    except MemoryError:
        raise
    except Exception as error:
        words = " ".join(str(error).split())
        problem = f"an input of zeros cannot be answered: {type(error).__name__}: {words}"
    return problem if judge else None


def zeros(spec: TensorSpec) -> Array:
    """The smallest input of this kind."""
    shape = concrete_shape(spec, 1)
    if DATATYPE_BYTES[spec.datatype] is None:
        return np.full(shape, b"", np.object_)
    return np.zeros(shape, DTYPES[spec.datatype])


def mismatch(outputs: Mapping[str, Array], signature: Signature) -> str | None:
    """How outputs differ from what is declared."""
    for spec in signature.outputs:
        array = outputs.get(spec.name)
        if array is None:
            return f"output {spec.name!r} is declared and not given"
        datatype = datatype_of(spec.name, array, signature)
        if datatype != spec.datatype:
            return f"output {spec.name!r} is declared {spec.datatype} and is {datatype}"
        # A declared shape without dimensions also stands for one that the file does not tell
        if spec.shape and not spec.accepts(array.shape):
            return f"output {spec.name!r} is declared {list(spec.shape)} and is {list(array.shape)}"
    return None
