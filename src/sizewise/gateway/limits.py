"""What one client, and all clients together, may take of the gateway."""

from dataclasses import dataclass

from sizewise.core.units import KIB, MIB
from sizewise.protocols.frames import DEFAULT_MAX_BODY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every limit has an answer of its own; none can be turned off, only raised."""

    head_bytes: int = 64 * KIB
    """Request line and headers together; also trailers. More: 431."""
    headers: int = 100
    """More: 431."""
    body_bytes: int = DEFAULT_MAX_BODY_BYTES
    """One request's body. More: 413."""
    buffered_bytes: int = 1024 * MIB
    """All clients together: bodies of requests not answered yet, heads that are large or not complete, answers that
    wait for their turn or that slow readers have not taken. More: 503, or the largest slow reader goes."""
    connections: int = 8192
    """Open at once; the process' limit on descriptors may lower it. More: 503."""
    pipelined: int = 32
    """Requests of one connection at work at once; further ones wait unread in the kernel."""
    head_s: float = 10.0
    """From a request's first byte to the end of its headers. Longer: 408."""
    body_s: float = 30.0
    """For a body that trickles. Each ``body_bytes_per_s`` received adds a second. Longer: 408."""
    body_bytes_per_s: int = 64 * KIB
    idle_s: float = 75.0
    """A connection without a request is closed after this; longer than the 60 s of common load balancers."""
    write_s: float = 60.0
    """A client that takes nothing of its answer for so long is dropped."""
    linger_s: float = 5.0
    """After a refusal in the middle of a body the rest is read and dropped for so long, so that the answer arrives."""
    drain_s: float = 30.0
    """After SIGTERM: how long requests in flight may take."""
