"""Reading model files: what they are and weigh, and converting pickles, without running what is in them."""

from sizewise.formats.convert import ConvertLimits, ConvertReport, UntrustedTypesError, convert
from sizewise.formats.inspecting import inspect

__all__ = ["ConvertLimits", "ConvertReport", "UntrustedTypesError", "convert", "inspect"]
