"""Bytes and times as people read and write them."""

import re

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_SUFFIXES = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1000,
    "m": 1000**2,
    "mb": 1000**2,
    "g": 1000**3,
    "gb": 1000**3,
    "t": 1000**4,
    "tb": 1000**4,
    "ki": KIB,
    "kib": KIB,
    "mi": MIB,
    "mib": MIB,
    "gi": GIB,
    "gib": GIB,
    "ti": 1024 * GIB,
    "tib": 1024 * GIB,
}
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*")


def parse_bytes(text: str | int) -> int:
    """Bytes from ``4GiB``, ``512MiB``, ``1.5G``, ``20Ki`` or a plain number.

    Two-letter and ``i`` suffixes follow Kubernetes: ``M`` is 1000**2, ``Mi`` and ``MiB`` are 1024**2.
    Raises ValueError naming the text and the suffixes allowed.

    >>> parse_bytes("4GiB")
    4294967296
    """
    if isinstance(text, int) and not isinstance(text, bool):
        if text < 0:
            raise ValueError(f"{text} is negative: give a size such as 4GiB")
        return text
    match = _QUANTITY.fullmatch(str(text))
    factor = _SUFFIXES.get(match.group(2).lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size: write a number with KiB, MiB, GiB, TiB, KB, MB, GB or TB")
    return round(float(match.group(1)) * factor)


def format_bytes(count: float | None) -> str:
    """Three significant figures in binary units, ``-`` for None.

    >>> format_bytes(41 * GIB), format_bytes(1536), format_bytes(None)
    ('41.0 GiB', '1.5 KiB', '-')
    """
    if count is None:
        return "-"
    for unit, size in (("TiB", 1024 * GIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(count) >= size:
            scaled = count / size
            return f"{scaled:.0f} {unit}" if abs(scaled) >= 100 else f"{scaled:.1f} {unit}"
    return f"{count:.0f} B"


def format_seconds(seconds: float | None) -> str:
    """A duration with the unit a person would use, ``-`` for None.

    >>> format_seconds(0.0042), format_seconds(3.25), format_seconds(95), format_seconds(7300)
    ('4.2 ms', '3.2 s', '1m35s', '2h01m')
    """
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        scaled = seconds * 1e3
        return f"{scaled:.0f} ms" if scaled >= 100 else f"{scaled:.1f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
