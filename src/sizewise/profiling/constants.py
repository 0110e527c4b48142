"""What models of each runtime cost, as straight lines: measured, dated, and printed by a script.

Written by ``benchmarks/calibrate_estimates.py`` on the machine and day below, from models it makes: two-layer
perceptrons (ONNX, 2 KB to 410 MB), forests of 3 to 300 trees (scikit-learn), 10 to 4000 boosted trees (XGBoost,
LightGBM), an array of 4 KB and of 4 MB (Python), a Flask application (command). They say what to expect of a model
that nobody has run; the first load and the first batches replace them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConstants:
    start_s: float
    """Fork from a parent that has imported the runtime."""
    load_s: float
    load_s_per_byte: float
    """For each byte on disk, from a warm page cache."""
    read_s_per_byte: float
    """More for each byte on disk when the page cache is cold."""
    warmup_s: float
    base_bytes: int
    """Private memory before the model; what it shares with its warm parent is charged to the parent."""
    resident_bytes: int
    resident_per_byte: float
    """Private bytes for each byte of weights."""
    peak_per_byte: float
    """The same while loading."""
    call_s: float
    call_s_per_parameter: float
    spread: float
    """95th percentile over median of a call."""


MACHINE = "AMD EPYC, 2 CPUs, 23.5 GiB, Linux x86_64"
MEASURED = "2026-11-22"
RUNTIMES: dict[str, RuntimeConstants] = {
    "onnx": RuntimeConstants(
        start_s=0.00508,
        load_s=0.00693,
        load_s_per_byte=2.7e-09,
        read_s_per_byte=3.99e-10,
        warmup_s=0.00061,
        base_bytes=1675264,
        resident_bytes=4448772,
        resident_per_byte=1.24,
        peak_per_byte=1.55,
        call_s=4.51e-06,
        call_s_per_parameter=5.96e-11,
        spread=1.67,
    ),
    "sklearn": RuntimeConstants(
        start_s=0.00834,
        load_s=0.0159,
        load_s_per_byte=2.14e-08,
        read_s_per_byte=3.12e-09,
        warmup_s=0.0309,
        base_bytes=1832960,
        resident_bytes=8172274,
        resident_per_byte=6.23,
        peak_per_byte=6.23,
        call_s=0.000276,
        call_s_per_parameter=2.18e-08,
        spread=1.66,
    ),
    "xgboost": RuntimeConstants(
        start_s=0.00692,
        load_s=0.00793,
        load_s_per_byte=5.95e-09,
        read_s_per_byte=3.2e-09,
        warmup_s=0.00293,
        base_bytes=1740800,
        resident_bytes=4139463,
        resident_per_byte=4.81,
        peak_per_byte=5.16,
        call_s=8.52e-05,
        call_s_per_parameter=3.13e-10,
        spread=1.86,
    ),
    "lightgbm": RuntimeConstants(
        start_s=0.00678,
        load_s=0.0207,
        load_s_per_byte=7.04e-09,
        read_s_per_byte=2.83e-10,
        warmup_s=0.00114,
        base_bytes=1800192,
        resident_bytes=4465269,
        resident_per_byte=2.35,
        peak_per_byte=2.49,
        call_s=1.58e-05,
        call_s_per_parameter=1.15e-10,
        spread=1.6,
    ),
    "python": RuntimeConstants(
        start_s=0.00266,
        load_s=0.00219,
        load_s_per_byte=0.0,
        read_s_per_byte=0.0,
        warmup_s=0.000124,
        base_bytes=1554432,
        resident_bytes=3276800,
        resident_per_byte=0.0,
        peak_per_byte=0.0,
        call_s=3.15e-06,
        call_s_per_parameter=0.0,
        spread=1.36,
    ),
    "command": RuntimeConstants(
        start_s=0.0,
        load_s=0.113,
        load_s_per_byte=0.0,
        read_s_per_byte=0.0,
        warmup_s=0.0,
        base_bytes=20811776,
        resident_bytes=0,
        resident_per_byte=0.0,
        peak_per_byte=0.0,
        call_s=0.000713,
        call_s_per_parameter=0.0,
        spread=1.31,
    ),
}
"""PyTorch is not among them, because it is not in the ordinary environment: ONNX Runtime's figures stand in for it."""
