"""ONNX models by ONNX Runtime, on the CPU."""

import ctypes
import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from sizewise.core.profiles import ModelFacts
from sizewise.core.tensors import TensorSpec
from sizewise.core.units import MIB
from sizewise.formats import inspect
from sizewise.protocols.errors import ModelFileError, RuntimeMissingError
from sizewise.protocols.oip import RequestError, Signature
from sizewise.protocols.oip.arrays import Array
from sizewise.runtimes.base import Arrays, LoadedModel, ModelFiles, asked, one_line, text_array
from sizewise.runtimes.stand_in import REFUSALS, StandIn

DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(bfloat16)": "BF16",
    "tensor(string)": "BYTES",
}
MAP_FROM_BYTES = 128 * MIB
"""External weights of this size and more are mapped and not pre-packed: a session in milliseconds instead of about
4 s for each GB, and pages that replicas share instead of a private copy each. It costs speed at larger batches (2.2x
at batch 8 of a 1.1 GB MLP, nothing at batch 1), which the measured curve shows. Smaller ones are pre-packed."""
ARENA_FROM_BYTES = 16 * MIB
"""Below, ONNX Runtime's arena gains nothing measurable and only holds on to memory."""
BFLOAT16 = 16
"""Its number in onnx.TensorProto."""
IDENTITY = (
    b'\x08\x08\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""The smallest model: y = x, one float32, of operator set 13."""


class OnnxRuntime:
    name = "onnx"

    def prepare(self) -> None:
        """The first session of a process registers every operator, 3 ms of computing; forked children inherit that.

        With one thread a session has none of its own, so nothing runs here afterwards.
        """
        session = _ort().InferenceSession(IDENTITY, plain_options(1), providers=["CPUExecutionProvider"])
        session.run(None, {"x": np.zeros(1, np.float32)})

    def load(self, files: ModelFiles) -> LoadedModel:
        try:
            session = open_session(files.file, session_options(files))
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            raise files.broken(error) from error
        return _hosted(session, files)

    def load_form(self, files: ModelFiles, *, second: bool) -> LoadedModel:
        assert files.form is not None, "load_form where there is one"
        return _hosted(open_session(files.form.file, form_options(files, packed=second)), files)


def open_session(file: Path, options: Any) -> Any:
    return _ort().InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _hosted(session: Any, files: ModelFiles) -> LoadedModel:
    signature = Signature(files.inputs or specs(session.get_inputs()), files.outputs or specs(session.get_outputs()))
    kinds = {spec.datatype for spec in signature.inputs + signature.outputs}
    if {"BF16", "BYTES"} <= kinds:
        problem = "has both BF16 and text tensors, which ONNX Runtime cannot take in one call"
        raise ModelFileError(files.entry, problem, "cast the BF16 ones to FP32 inside the model")
    model = Bfloat16Model(session, signature) if "BF16" in kinds else OnnxModel(session, signature)
    refusals = session.get_modelmeta().custom_metadata_map.get(REFUSALS)
    return model if refusals is None else StandIn(model, refusals)


def session_options(files: ModelFiles) -> Any:
    """What a replica runs a model with as it was deployed; anybody who sets the same gets the same bits."""
    facts = inspect(files.file)
    options = plain_options(files.threads)
    if is_mapped(facts):
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_cpu_mem_arena = facts.disk_bytes >= ARENA_FROM_BYTES
    return options


def form_options(files: ModelFiles, *, packed: bool) -> Any:
    """What a replica runs a load-ready form with: everything that optimizing does is in its file."""
    ort = _ort()
    options = plain_options(files.threads)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not packed:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def plain_options(threads: int) -> Any:
    options = _ort().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that spins while it waits takes a core from another model's replica
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def is_mapped(facts: ModelFacts) -> bool:
    """Whether its weights stay in the page cache, shared by all replicas, rather than in private memory."""
    return facts.external_bytes >= MAP_FROM_BYTES


def specs(nodes: Any) -> tuple[TensorSpec, ...]:
    """Tensors only: sequences and maps have no form in the protocol."""
    return tuple(
        TensorSpec(
            name=node.name,
            datatype=DATATYPES[node.type],
            shape=tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape),
        )
        for node in nodes
        if node.type in DATATYPES
    )


class OnnxModel:
    def __init__(self, session: Any, signature: Signature) -> None:
        self.signature = signature
        self._session = session
        self._text = [spec.name for spec in signature.inputs if spec.datatype == "BYTES"]
        self._refused = _ort().capi.onnxruntime_pybind11_state.InvalidArgument

    def run(self, inputs: Arrays, outputs: tuple[str, ...]) -> dict[str, Array]:
        names = asked(outputs, self.signature)
        try:
            return dict(zip(names, self._call(names, self._texts(inputs)), strict=True))
        except self._refused as error:
            # Shapes that contradict each other, an index out of bounds: found out only while running
            raise RequestError(f"the model refuses these inputs: {one_line(error)}") from error

    def _call(self, names: Any, inputs: Arrays) -> list[Array]:
        values: list[Array] = self._session.run(names, inputs)
        return values

    def _texts(self, inputs: Arrays) -> Arrays:
        if not self._text:
            return inputs
        try:
            return {**inputs, **{name: text_array(inputs[name]) for name in self._text}}
        except UnicodeDecodeError as error:
            raise RequestError(f"a BYTES element is not UTF-8, and ONNX Runtime takes text: {error.reason}") from error


class Bfloat16Model(OnnxModel):
    """Carries BF16 tensors as their bits in uint16."""

    def _call(self, names: Any, inputs: Arrays) -> list[Array]:
        value_of = _ort().OrtValue
        bf16 = {spec.name for spec in self.signature.inputs if spec.datatype == "BF16"}
        feeds = {
            name: value_of.ortvalue_from_numpy_with_onnx_type(array, BFLOAT16)
            if name in bf16
            else value_of.ortvalue_from_numpy(array)
            for name, array in inputs.items()
        }
        return [_bits(value) for value in self._session.run_with_ort_values(names, feeds)]


def _bits(value: Any) -> Array:
    if value.element_type() != BFLOAT16:
        array: Array = value.numpy()
        return array
    # numpy has no such type: read the memory itself
    shape = tuple(value.shape())
    raw = ctypes.string_at(value.data_ptr(), 2 * prod(shape))
    return np.frombuffer(raw, np.uint16).reshape(shape)


def _ort() -> Any:
    # Its builds for Linux report to their maker from the moment they are loaded, and write down who they are
    os.putenv("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeMissingError("onnxruntime", "onnx") from error
    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(3)
    return onnxruntime


RUNTIME = OnnxRuntime()
