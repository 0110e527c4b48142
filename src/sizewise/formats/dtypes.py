"""Datatypes of each format in the words of the Open Inference Protocol, with the bits of one element.

Types that the protocol does not know keep a name of their own: they can be weighed, and not be sent.
"""

BITS: dict[str, int] = {
    "BOOL": 8, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16, "UINT32": 32, "INT32": 32, "UINT64": 64,
    "INT64": 64, "FP16": 16, "BF16": 16, "FP32": 32, "FP64": 64, "COMPLEX32": 32, "COMPLEX64": 64, "COMPLEX128": 128,
    "FP8_E4M3": 8, "FP8_E5M2": 8, "FP8_E4M3FNUZ": 8, "FP8_E5M2FNUZ": 8, "FP8_E8M0": 8, "FP4": 4, "FP6": 6,
    "INT4": 4, "UINT4": 4, "INT2": 2, "UINT2": 2,
}  # fmt: skip
"""Bits of one element; BYTES has none, its elements vary."""

# onnx.proto, TensorProto.DataType
ONNX: dict[int, str] = {
    1: "FP32", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64", 8: "BYTES", 9: "BOOL",
    10: "FP16", 11: "FP64", 12: "UINT32", 13: "UINT64", 14: "COMPLEX64", 15: "COMPLEX128", 16: "BF16",
    17: "FP8_E4M3", 18: "FP8_E4M3FNUZ", 19: "FP8_E5M2", 20: "FP8_E5M2FNUZ", 21: "UINT4", 22: "INT4", 23: "FP4",
    24: "FP8_E8M0", 25: "UINT2", 26: "INT2",
}  # fmt: skip

# https://github.com/huggingface/safetensors, README and tensor.rs
SAFETENSORS: dict[str, str] = {
    "BOOL": "BOOL", "U8": "UINT8", "I8": "INT8", "U16": "UINT16", "I16": "INT16", "U32": "UINT32", "I32": "INT32",
    "U64": "UINT64", "I64": "INT64", "F16": "FP16", "BF16": "BF16", "F32": "FP32", "F64": "FP64",
    "F8_E4M3": "FP8_E4M3", "F8_E5M2": "FP8_E5M2", "F8_E8M0": "FP8_E8M0", "F4": "FP4", "F6_E2M3": "FP6",
    "F6_E3M2": "FP6", "C64": "COMPLEX64",
}  # fmt: skip

# torch/_export/serde/schema.py, ScalarType
TORCH_EXPORT: dict[int, str] = {
    1: "UINT8", 2: "INT8", 3: "INT16", 4: "INT32", 5: "INT64", 6: "FP16", 7: "FP32", 8: "FP64", 9: "COMPLEX32",
    10: "COMPLEX64", 11: "COMPLEX128", 12: "BOOL", 13: "BF16", 28: "UINT16", 29: "FP8_E4M3", 30: "FP8_E5M2",
    31: "FP8_E4M3FNUZ", 32: "FP8_E5M2FNUZ", 33: "FP8_E8M0", 34: "UINT32", 35: "UINT64",
}  # fmt: skip

# Names of torch's typed storages, as they stand in its pickles
TORCH_STORAGE: dict[str, str] = {
    "torch.FloatStorage": "FP32", "torch.DoubleStorage": "FP64", "torch.HalfStorage": "FP16",
    "torch.BFloat16Storage": "BF16", "torch.LongStorage": "INT64", "torch.IntStorage": "INT32",
    "torch.ShortStorage": "INT16", "torch.CharStorage": "INT8", "torch.ByteStorage": "UINT8",
    "torch.BoolStorage": "BOOL", "torch.ComplexFloatStorage": "COMPLEX64", "torch.ComplexDoubleStorage": "COMPLEX128",
    "torch.QInt8Storage": "INT8", "torch.QUInt8Storage": "UINT8", "torch.QInt32Storage": "INT32",
    "torch.storage.UntypedStorage": "UINT8",
}  # fmt: skip

# Kind and bytes of a numpy dtype such as <f8
NUMPY: dict[str, str] = {
    "b1": "BOOL", "u1": "UINT8", "i1": "INT8", "u2": "UINT16", "i2": "INT16", "u4": "UINT32", "i4": "INT32",
    "u8": "UINT64", "i8": "INT64", "f2": "FP16", "f4": "FP32", "f8": "FP64", "c8": "COMPLEX64", "c16": "COMPLEX128",
}  # fmt: skip


def packed_bytes(datatype: str, elements: int) -> int:
    """Bytes of ``elements`` values side by side; those of less than a byte share bytes.

    >>> packed_bytes("FP32", 3), packed_bytes("INT4", 3)
    (12, 2)
    """
    return (elements * BITS[datatype] + 7) // 8
