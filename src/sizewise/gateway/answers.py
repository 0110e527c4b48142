"""Answers as bytes: status line, headers, JSON bodies."""

import time
from http import HTTPStatus
from typing import Any

import orjson

JSON = b"application/json"
BINARY = b"application/octet-stream"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b"Unknown"))


class Dates:
    """Head of the commonest answer, up to the length; the date in it is renewed once a second, not per answer."""

    def __init__(self) -> None:
        self.line = b""
        self.json_ok = b""
        self.renew(time.time())

    def renew(self, unix_s: float) -> None:
        at = time.gmtime(unix_s)
        # strftime would follow the locale
        day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
        clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
        self.line = f"Date: {day}, {at.tm_mday:02} {month} {at.tm_year} {clock} GMT\r\n".encode()
        self.json_ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + self.line + b"Content-Length: "


DATES = Dates()


def head(status: int, length: int | None, *, kind: bytes = JSON, extra: bytes = b"") -> bytes:
    """Status line and headers. ``extra`` is whole header lines; no ``length`` for answers that cannot have a body."""
    sized = b"" if length is None else b"Content-Type: %b\r\nContent-Length: %d\r\n" % (kind, length)
    return b"%b%b%b%b\r\n" % (status_line(status), DATES.line, sized, extra)


def json_body(value: Any) -> bytes:
    return orjson.dumps(value)


def error_body(text: str) -> bytes:
    """The one shape of every error: a JSON object with one string."""
    # orjson refuses lone surrogates, which a header may smuggle into a text
    return orjson.dumps({"error": text.encode("utf-8", "replace").decode()})
