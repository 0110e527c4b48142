"""Names, datatypes and shapes of tensors, in the words of the Open Inference Protocol."""

from dataclasses import dataclass

DATATYPE_BYTES: dict[str, int | None] = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "FP32": 4,
    "FP64": 8,
    "BF16": 2,
    "BYTES": None,
}
"""Bytes of one element; None for BYTES, whose elements vary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output. ``shape`` has -1 for a dimension that varies; it includes the batch dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a concrete shape fits: same rank, and equal wherever this one is fixed."""
        return len(shape) == len(self.shape) and all(
            want in (-1, have) for want, have in zip(self.shape, shape, strict=True)
        )
