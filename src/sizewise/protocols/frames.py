"""Frame protocol v1 between gateway and replica.

A stream of frames over one connection, in both directions, pipelined and multiplexed: answers come in any order and
carry the id of their request. Every frame is a 40-byte little-endian header, then ``target_bytes`` bytes of target
(the model reference, ``name@version``), then ``body_bytes`` bytes of body, opaque to the protocol.

====== ==== =======================================================================================
offset type field
====== ==== =======================================================================================
0      2s   magic ``SZ``
2      u8   protocol version, 1
3      u8   kind (`Kind`)
4      u16  flags (`Flag`)
6      u16  encoding of the body (`Encoding`); in RESULT too
8      u64  request id, chosen by the sender of the request, unique per connection while unanswered
16     u64  absolute deadline in nanoseconds of CLOCK_MONOTONIC, 0 for none; in RESULT: time of its batch in ns,
               decoding, computing and encoding together
24     u32  json_bytes: length of the JSON part of a binary-tensor body, 0 when the body has one part
28     u32  status: HTTP status of a RESULT; 0 in requests
32     u16  target_bytes
34     u16  batch: in RESULT, rows computed together, this request's included; 65535 for more; 0 = not computed
36     u32  body_bytes
====== ==== =======================================================================================

CLOCK_MONOTONIC is one clock for all processes of a machine; a sender on another machine converts with the offset it
learned from HELLO.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any

MAGIC = b"SZ"
VERSION = 1
HEADER = struct.Struct("<2sBBHHQQIIHHI")
HEADER_BYTES = HEADER.size
MAX_TARGET_BYTES = 1024
DEFAULT_MAX_BODY_BYTES = 256 * 1024 * 1024


class Kind(IntEnum):
    HELLO = 1
    """Replica to peer, once per connection: JSON ``{replica_id, pid, monotonic_ns, models}``."""
    INFER = 2
    RESULT = 3
    """Answer to INFER, LOAD, UNLOAD, STATUS. Body: what the client gets, or JSON."""
    CANCEL = 4
    """Drop request ``id`` if it has not begun; no answer follows a CANCEL that came in time, and none is owed."""
    LOAD = 5
    """JSON ``LoadRequest``; answered by RESULT with JSON ``LoadReport``."""
    UNLOAD = 6
    STATUS = 7
    STOP = 8
    """Answer what has been received, then exit with status 0."""
    SETTLED = 9
    """Replica to who ordered a LOAD: JSON ``{target, stage}``; the model stays with the session that it has now."""


_FIRST_KIND, _LAST_KIND = int(Kind.HELLO), int(Kind.SETTLED)


class Flag(IntFlag):
    LEAD = 1
    """In RESULT: first answer of its batch, so summing times and rows over LEAD frames counts each batch once."""
    ALONE = 2
    """In INFER: compute this one in a batch of its own (a retry after a replica died)."""


class Encoding(IntEnum):
    NONE = 0
    V2_JSON = 1
    V2_BINARY = 2
    """JSON of ``json_bytes`` bytes, then raw tensors (binary tensor extension)."""
    V1_JSON = 3
    """KServe v1 and SageMaker: ``{"instances": ...}``."""
    ERROR_JSON = 4
    """``{"error": text}``; only in RESULT."""
    CSV = 5
    """Rows of numbers for a tabular model (SageMaker, ``text/csv``); answered as V1_JSON."""


class FrameError(Exception):
    """The peer does not speak this protocol, or a size is over its limit; the connection cannot go on."""


@dataclass(slots=True)
class Frame:
    kind: int
    request_id: int
    body: bytes | memoryview = b""
    target: bytes = b""
    encoding: int = 0
    flags: int = 0
    deadline_ns: int = 0
    """In RESULT: time of its batch in ns."""
    json_bytes: int = 0
    status: int = 0
    batch: int = 0


def encode_head(frame: Frame) -> bytes:
    """Header and target; the body follows separately so that a large one is not copied."""
    return (
        HEADER.pack(
            MAGIC,
            VERSION,
            frame.kind,
            frame.flags,
            frame.encoding,
            frame.request_id,
            frame.deadline_ns,
            frame.json_bytes,
            frame.status,
            len(frame.target),
            frame.batch,
            len(frame.body),
        )
        + frame.target
    )


def encode(frame: Frame) -> bytes:
    return encode_head(frame) + bytes(frame.body)


class Decoder:
    """Cuts a byte stream into frames; feed it what a socket gives.

    Raises FrameError on a wrong magic, version, unknown kind or a size over the limits, as soon as the header shows
    it: before the body is buffered. A frame that has not arrived whole waits, holding only the bytes received.
    """

    __slots__ = ("_buffer", "_max_body_bytes")

    def __init__(self, max_body_bytes: int = DEFAULT_MAX_BODY_BYTES) -> None:
        self._buffer = bytearray()
        self._max_body_bytes = max_body_bytes

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames completed by ``data``. Bodies are copies and stay valid."""
        if self._buffer:
            self._buffer += data
            with memoryview(self._buffer) as source:
                frames, used = cut(source, self._max_body_bytes)
            del self._buffer[:used]
        else:
            frames, used = cut(data, self._max_body_bytes)
            if used < len(data):
                self._buffer += memoryview(data)[used:]
        return iter(frames)


def cut(source: bytes | memoryview, limit: int) -> tuple[list[Frame], int]:
    """Whole frames at the start of ``source``, and how many bytes they are; FrameError as `Decoder` raises it."""
    offset, size = 0, len(source)
    frames: list[Frame] = []
    unpack = HEADER.unpack_from
    while size - offset >= HEADER_BYTES:
        fields = unpack(source, offset)
        magic, version, kind, flags, encoding, number, deadline_ns, json_bytes, status, target_n, batch, n = fields
        if (
            magic != MAGIC
            or version != VERSION
            or not _FIRST_KIND <= kind <= _LAST_KIND
            or target_n > MAX_TARGET_BYTES
            or not json_bytes <= n <= limit
        ):
            raise _refused(fields, limit)
        start = offset + HEADER_BYTES
        body_at = start + target_n
        end = body_at + n
        if end > size:
            break
        # By position and not by name, in the order of the fields of Frame: half the time
        body, target = bytes(source[body_at:end]), bytes(source[start:body_at])
        frames.append(Frame(kind, number, body, target, encoding, flags, deadline_ns, json_bytes, status, batch))
        offset = end
    return frames, offset


def head_of(source: bytes) -> tuple[Frame | None, int, int]:
    """The frame without its body at the start of what ``cut`` left over, where its body begins, and its length."""
    if len(source) < HEADER_BYTES:
        return None, 0, 0
    _, _, kind, flags, encoding, number, deadline_ns, json_bytes, status, target_n, batch, n = HEADER.unpack_from(
        source
    )
    start = HEADER_BYTES + target_n
    if len(source) < start:
        return None, 0, 0
    target = source[HEADER_BYTES:start]
    return Frame(kind, number, b"", target, encoding, flags, deadline_ns, json_bytes, status, batch), start, n


def _refused(fields: tuple[Any, ...], limit: int) -> FrameError:
    if fields[0] != MAGIC:
        return FrameError(f"frame starts with {fields[0]!r}, expected {MAGIC!r}")
    if fields[1] != VERSION:
        return FrameError(f"frame protocol {fields[1]} is not supported, this side speaks {VERSION}")
    if not _FIRST_KIND <= fields[2] <= _LAST_KIND:
        return FrameError(f"unknown frame kind {fields[2]}")
    if fields[9] > MAX_TARGET_BYTES:
        return FrameError(f"target of {fields[9]} bytes is over the limit of {MAX_TARGET_BYTES}")
    if fields[11] > limit:
        return FrameError(f"body of {fields[11]} bytes is over the limit of {limit}")
    return FrameError(f"JSON part of {fields[7]} bytes is longer than the body of {fields[11]}")
