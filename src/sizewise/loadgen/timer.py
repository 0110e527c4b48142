"""A timer that is due to the microsecond: those of event loops count in whole milliseconds."""

import ctypes
import os

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_NS = 1_000_000_000


class _Moment(ctypes.Structure):
    """``struct itimerspec`` of timerfd_settime(2): repeat after, then due at."""

    _fields_ = (
        ("again_s", ctypes.c_long),
        ("again_ns", ctypes.c_long),
        ("due_s", ctypes.c_long),
        ("due_ns", ctypes.c_long),
    )


class Timer:
    """A descriptor that is readable from the moment set on, in seconds of time.monotonic(). See timerfd_create(2).

    Python has this from 3.13 on; the call is the same.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, at_s: float) -> None:
        """A moment that has passed makes it readable at once."""
        ns = max(1, int(at_s * _NS))
        moment = _Moment(0, 0, ns // _NS, ns % _NS)
        if self._libc.timerfd_settime(self.fd, _ABSOLUTE, ctypes.byref(moment), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def clear(self) -> None:
        """Not readable until it is due again."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return

    def close(self) -> None:
        os.close(self.fd)
