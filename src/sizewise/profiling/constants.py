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
        start_s=0.00353,
        load_s=0.0054,
        load_s_per_byte=1.99e-09,
        read_s_per_byte=1.16e-09,
        warmup_s=0.000452,
        base_bytes=37289984,
        resident_bytes=1469421,
        resident_per_byte=1.26,
        peak_per_byte=1.52,
        call_s=5.06e-06,
        call_s_per_parameter=6.06e-11,
        spread=1.4,
    ),
    "sklearn": RuntimeConstants(
        start_s=0.0101,
        load_s=0.0502,
        load_s_per_byte=2.82e-08,
        read_s_per_byte=9.13e-09,
        warmup_s=0.0248,
        base_bytes=107804672,
        resident_bytes=1933197,
        resident_per_byte=5.16,
        peak_per_byte=5.16,
        call_s=0.000317,
        call_s_per_parameter=2.09e-08,
        spread=1.67,
    ),
    "xgboost": RuntimeConstants(
        start_s=0.011,
        load_s=0.00714,
        load_s_per_byte=1.04e-08,
        read_s_per_byte=1.18e-09,
        warmup_s=0.00507,
        base_bytes=87052288,
        resident_bytes=0,
        resident_per_byte=1.81,
        peak_per_byte=4.26,
        call_s=9.34e-05,
        call_s_per_parameter=4.47e-10,
        spread=2.37,
    ),
    "lightgbm": RuntimeConstants(
        start_s=0.00588,
        load_s=0.0208,
        load_s_per_byte=6.2e-09,
        read_s_per_byte=1.07e-09,
        warmup_s=0.0025,
        base_bytes=86941696,
        resident_bytes=1059782,
        resident_per_byte=1.25,
        peak_per_byte=1.64,
        call_s=1.59e-05,
        call_s_per_parameter=1.12e-10,
        spread=1.57,
    ),
    "python": RuntimeConstants(
        start_s=0.00269,
        load_s=0.00205,
        load_s_per_byte=0.0,
        read_s_per_byte=0.0,
        warmup_s=0.000128,
        base_bytes=25192448,
        resident_bytes=1931264,
        resident_per_byte=0.0,
        peak_per_byte=0.0,
        call_s=4.08e-06,
        call_s_per_parameter=0.0,
        spread=1.2,
    ),
    "command": RuntimeConstants(
        start_s=0.0,
        load_s=0.318,
        load_s_per_byte=0.0,
        read_s_per_byte=0.0,
        warmup_s=0.0,
        base_bytes=20819968,
        resident_bytes=0,
        resident_per_byte=0.0,
        peak_per_byte=0.0,
        call_s=0.000885,
        call_s_per_parameter=0.0,
        spread=5.25,
    ),
}
"""PyTorch is not among them, because it is not in the ordinary environment: ONNX Runtime's figures stand in for it."""
