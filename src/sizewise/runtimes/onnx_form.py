"""Load-ready forms of ONNX models: optimized ahead, weights in a file that is mapped, pre-packed copies beside them.

Such a file holds what the optimizer chose for this version of ONNX Runtime and this processor, and is for them only.
"""

from pathlib import Path
from typing import Any

from sizewise.runtimes.base import ModelFiles
from sizewise.runtimes.onnx_model import open_session, plain_options

ENTRY = "model.onnx"
WEIGHTS = "weights.bin"
LEAST_BYTES = 1024
"""Smaller tensors stay in the graph's own file."""
ERRORS_ONLY = 3


def make_mapped(files: ModelFiles, target: Path) -> str:
    options = _saving(files, target)
    options.add_session_config_entry("session.disable_prepacking", "1")
    open_session(files.file, options)
    return ENTRY


def make_packed(files: ModelFiles, target: Path) -> str:
    options = _saving(files, target)
    options.add_session_config_entry("session.save_external_prepacked_constant_initializers", "1")
    open_session(files.file, options)
    return ENTRY


def _saving(files: ModelFiles, target: Path) -> Any:
    options = plain_options(files.threads)
    # It would warn that the file is for this kind of machine, which its key says
    options.log_severity_level = ERRORS_ONLY
    options.optimized_model_filepath = str(target / ENTRY)
    prefix = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{prefix}_file_name", WEIGHTS)
    options.add_session_config_entry(f"{prefix}_min_size_in_bytes", str(LEAST_BYTES))
    return options
