"""The public Python API: the same verbs as the commands, which call it."""

from sizewise.api.bench import bench
from sizewise.api.client import AdminError, Client, connect
from sizewise.api.simulate import Comparison, simulate
from sizewise.api.system import down
from sizewise.api.weigh import ProfileOptions, convert, profile
from sizewise.controller.logs import LogLine, logs
from sizewise.formats.convert import ConvertReport, UntrustedTypesError
from sizewise.loadgen.bench import BenchOptions, BenchReport
from sizewise.profiling.report import Report

__all__ = [
    "AdminError",
    "BenchOptions",
    "BenchReport",
    "Client",
    "Comparison",
    "ConvertReport",
    "LogLine",
    "ProfileOptions",
    "Report",
    "UntrustedTypesError",
    "bench",
    "connect",
    "convert",
    "down",
    "logs",
    "profile",
    "simulate",
]
