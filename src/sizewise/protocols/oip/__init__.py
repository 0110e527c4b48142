"""Open Inference Protocol codec, and the older forms that map to it.

This package and all that it imports work without numpy, for the gateway; arrays are made in ``arrays`` and answers
in ``encode``, which a replica uses.
"""

from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip.errors import RequestError
from sizewise.protocols.oip.request import InferRequest, Signature, Tensor
from sizewise.protocols.oip.v1 import decode_csv, decode_v1
from sizewise.protocols.oip.v2 import decode_v2

__all__ = ["InferRequest", "RequestError", "Signature", "Tensor", "check", "decode"]


def decode(
    body: bytes | memoryview, *, signature: Signature, encoding: int = Encoding.V2_JSON, json_bytes: int = 0
) -> InferRequest:
    """A request whose names, datatypes, shapes and elements fit ``signature``. Raises RequestError and nothing else.

    Binary tensors are views into ``body``.
    """
    if encoding == Encoding.V2_JSON:
        return decode_v2(body, json_bytes=0, signature=signature)
    if encoding == Encoding.V2_BINARY:
        return decode_v2(body, json_bytes=json_bytes, signature=signature)
    if encoding == Encoding.V1_JSON:
        return decode_v1(body, signature=signature)
    if encoding == Encoding.CSV:
        return decode_csv(body, signature=signature)
    raise RequestError(f"encoding {encoding} cannot carry a request")


def check(
    body: bytes | memoryview, *, signature: Signature, encoding: int = Encoding.V2_JSON, json_bytes: int = 0
) -> None:
    """Raise the RequestError that ``decode`` would: for refusing a bad request before a cold model is woken."""
    decode(body, signature=signature, encoding=encoding, json_bytes=json_bytes)
