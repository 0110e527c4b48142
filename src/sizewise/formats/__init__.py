"""Reading model files: what they are and weigh, and converting pickles, without running what is in them."""

from sizewise.formats.inspecting import inspect

__all__ = ["inspect"]
