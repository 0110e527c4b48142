"""The public Python API: the same verbs as the commands, which call it."""

from sizewise.api.client import AdminError, Client, connect
from sizewise.api.logs import LogLine, logs
from sizewise.api.system import down
from sizewise.api.weigh import ProfileOptions, convert, profile
from sizewise.formats.convert import ConvertReport, UntrustedTypesError
from sizewise.profiling.report import Report

__all__ = [
    "AdminError",
    "Client",
    "ConvertReport",
    "LogLine",
    "ProfileOptions",
    "Report",
    "UntrustedTypesError",
    "connect",
    "convert",
    "down",
    "logs",
    "profile",
]
