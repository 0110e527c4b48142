"""Frames out of a socket's bytes, with a large body read straight to where the model will look at it."""

from collections.abc import Sequence

import numpy as np

from sizewise.protocols.frames import DEFAULT_MAX_BODY_BYTES, Frame, cut, head_of

BUFFER_BYTES = 1 << 18
"""Each connection has its own: memory that nothing was written to takes no pages, and small requests write little."""
LARGE_BYTES = 1 << 16
"""Bodies from here on get memory of their own as soon as their header is there."""
ALIGNMENT = 64
"""Of the raw tensors behind a JSON part of any length: native code may demand aligned elements, or copy them."""


class Receiver:
    """``room`` is what a socket may write to next, ``filled`` says how much of it was written."""

    __slots__ = ("_buffer", "_have", "_large", "_max_body_bytes", "_missing")

    def __init__(self, max_body_bytes: int = DEFAULT_MAX_BODY_BYTES) -> None:
        self._buffer = np.empty(BUFFER_BYTES, np.uint8).data
        self._have = 0
        self._large: Frame | None = None
        """A frame whose body is being received; what is not there yet is the last part of the body."""
        self._missing = 0
        self._max_body_bytes = max_body_bytes

    def room(self) -> memoryview:
        if self._large is not None:
            return self._large.body[len(self._large.body) - self._missing :]  # type: ignore[return-value]
        return self._buffer[self._have :]

    def filled(self, count: int) -> Sequence[Frame]:
        """Frames that are complete now. Raises FrameError for a peer that does not speak the protocol."""
        if self._large is not None:
            self._missing -= count
            if self._missing:
                return ()
            done, self._large = self._large, None
            return (done,)
        have = self._have + count
        with self._buffer[:have] as source:
            frames, used = cut(source, self._max_body_bytes)
            rest = bytes(source[used:])
        self._have = len(rest)
        if rest:
            self._buffer[: len(rest)] = rest
            self._begin_large(rest)
        return frames

    def _begin_large(self, rest: bytes) -> None:
        """Give a body its memory once header and target are there."""
        frame, start, size = head_of(rest)
        if frame is None or size < LARGE_BYTES:
            return
        memory = np.empty(size + ALIGNMENT, np.uint8)
        offset = -(memory.ctypes.data + frame.json_bytes) % ALIGNMENT
        body = memory.data[offset : offset + size]
        part = rest[start:]
        body[: len(part)] = part
        frame.body = body
        self._large, self._missing, self._have = frame, size - len(part), 0
