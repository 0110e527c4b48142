"""An inference request, decoded and validated, and what it is validated against. No numpy: the gateway uses this."""

from dataclasses import dataclass, field

from sizewise.core.tensors import TensorSpec
from sizewise.protocols.frames import Encoding

Data = bytes | memoryview | list[bytes]
"""Little-endian row-major elements; a list of byte strings for BYTES. BF16 travels as its two bytes."""

TIMEOUT_PARAMETER = "timeout"
"""Microseconds, as in Triton."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives.

    No ``inputs`` means that they are unknown and any are passed on; the same holds for ``outputs``. ``casts`` is for
    tabular runtimes, which take any numeric datatype and convert it to their own. ``batchable`` demands the same
    number of rows of all inputs.
    """

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    casts: bool = False
    batchable: bool = False
    by_name: dict[str, TensorSpec] = field(init=False, repr=False, compare=False)
    output_names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    heads: dict[tuple[str | int, ...], int] = field(init=False, repr=False, compare=False)
    """Elements of (name, datatype, *shape) found to fit before, so that the rules are not gone through each time."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {spec.name: spec for spec in self.inputs})
        object.__setattr__(self, "output_names", tuple(spec.name for spec in self.outputs))
        object.__setattr__(self, "heads", {})


@dataclass(slots=True)
class Tensor:
    """One input as it came: ``datatype`` is the sender's, which a casting runtime may change later."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Data


@dataclass(slots=True)
class InferRequest:
    """``inputs`` are in the model's order. No ``outputs`` means all, where the model does not declare any."""

    inputs: list[Tensor]
    outputs: tuple[str, ...]
    reply: Encoding
    """V2_JSON or V1_JSON; which outputs are binary says ``binary``."""
    id: str | None = None
    binary: frozenset[str] | bool = False
    """Outputs to send as raw bytes; True for all."""
    parameters: dict[str, str | int | float | bool] | None = None
    columns: bool = False
    """V1: asked by ``inputs`` and not by ``instances``, so answered by ``outputs``."""

    @property
    def rows(self) -> int:
        shape = self.inputs[0].shape if self.inputs else ()
        return shape[0] if shape else 1

    @property
    def timeout_us(self) -> int:
        """The sender's own limit, 0 for none."""
        value = self.parameters.get(TIMEOUT_PARAMETER) if self.parameters else None
        return value if isinstance(value, int) and value is not True and value > 0 else 0
