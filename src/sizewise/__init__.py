"""Serve, train and scale machine-learning models by what they weigh.

>>> import sizewise
>>> sizewise.profile("model.onnx").sustained.per_s  # doctest: +SKIP
>>> with sizewise.connect(state_dir=".sizewise") as system:  # doctest: +SKIP
...     system.deploy({"name": "digits", "uri": "/models/digits.onnx"}, wait=True)
"""

from typing import TYPE_CHECKING, Any

from sizewise.core.version import VERSION

if TYPE_CHECKING:
    from sizewise.api import (
        BenchOptions,
        BenchReport,
        Client,
        Comparison,
        ProfileOptions,
        Report,
        bench,
        connect,
        convert,
        down,
        logs,
        profile,
        simulate,
    )
    from sizewise.protocols.errors import SizewiseError

__all__ = [
    "BenchOptions",
    "BenchReport",
    "Client",
    "Comparison",
    "ProfileOptions",
    "Report",
    "SizewiseError",
    "__version__",
    "bench",
    "connect",
    "convert",
    "down",
    "logs",
    "profile",
    "simulate",
]

__version__ = VERSION


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: the processes of a running system need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "SizewiseError":
        from sizewise.protocols import errors

        return errors.SizewiseError
    from sizewise import api

    return getattr(api, name)
