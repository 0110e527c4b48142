"""What a reader finds in a model file, and how it says that it cannot go on."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sizewise.core.tensors import TensorSpec

MAX_DIMENSION = 2**40
MAX_ELEMENTS = 2**56
MAX_RANK = 64
_SHOWN_CHARACTERS = 200


class FormatError(Exception):
    """A file that cannot be a model that is safe to open. ``inspect`` adds the path and raises ModelFileError."""

    def __init__(self, problem: str, advice: str = "get the file again or export the model again") -> None:
        super().__init__(problem)
        self.problem = problem
        self.advice = advice


class UnsafeError(FormatError):
    """A file that is well formed and asks for something a model has no business with."""

    def __init__(self, problem: str, advice: str = "do not open it; get the model from its author") -> None:
        super().__init__(problem, advice)


@dataclass(slots=True)
class Weights:
    """Elements and bytes of weights by datatype, added up tensor by tensor."""

    elements: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)

    def add(self, datatype: str, elements: int, size_bytes: int) -> None:
        self.elements[datatype] += elements
        self.bytes[datatype] += size_bytes

    def merge(self, other: "Weights") -> None:
        self.elements.update(other.elements)
        self.bytes.update(other.bytes)

    @property
    def parameters(self) -> int:
        """Elements of every tensor but strings, which are vocabulary."""
        return sum(count for datatype, count in self.elements.items() if datatype != "BYTES")

    def by_datatype(self) -> tuple[tuple[str, int], ...]:
        """Largest first, then by name."""
        present = [(datatype, size) for datatype, size in self.bytes.items() if size]
        return tuple(sorted(present, key=lambda each: (-each[1], each[0])))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``ModelFacts`` without what depends on where the file lies."""

    format: str
    platform: str
    runtime: str | None
    parameters: int | None = None
    weight_bytes: tuple[tuple[str, int], ...] = ()
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    batchable: bool | None = None
    """None: True unless the first dimension of an input is fixed."""
    side_files: tuple[str, ...] = ()
    """Other files that belong to this one, relative to the folder."""
    notes: tuple[str, ...] = ()


def element_count(shape: tuple[int, ...]) -> int:
    """Elements of a tensor. Raises FormatError for a dimension, rank or product that no model has.

    >>> element_count((2, 3)), element_count(())
    (6, 1)
    """
    if len(shape) > MAX_RANK:
        raise FormatError(f"a tensor has {len(shape)} dimensions, more than {MAX_RANK}")
    total = 1
    for size in shape:
        if not 0 <= size <= MAX_DIMENSION:
            raise FormatError(f"a tensor has a dimension of {shown(size)}")
        total *= size
        if total > MAX_ELEMENTS:
            raise FormatError(f"a tensor has a shape of {shown(list(shape))}, more elements than any memory holds")
    return total


def rows_vary(inputs: tuple[TensorSpec, ...]) -> bool:
    """Whether the first dimension of every input is free, so that requests can be put into one batch."""
    return all(spec.shape and spec.shape[0] == -1 for spec in inputs)


def words(text: str) -> frozenset[str]:
    """Names written one after the other."""
    return frozenset(text.split())


def shown(value: object) -> str:
    """A value from a file as it may stand in a message: one line, no control characters, not long."""
    text = repr(value)
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def as_mapping(value: object, what: str) -> Mapping[str, object]:
    """A JSON object, or FormatError naming what should have been one."""
    if not isinstance(value, dict):
        raise FormatError(f"{what} is not a JSON object")
    return value


def as_list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise FormatError(f"{what} is not a JSON list")
    return value


def as_count(value: object, what: str, *, most: int = MAX_DIMENSION) -> int:
    """A whole number from 0 to ``most``, written as a number or as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise FormatError(f"{what} is {shown(value)}, not a number from 0 to {most}")
    return value
