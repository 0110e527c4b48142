"""What both ends of a frame connection ask of the kernel."""

import asyncio
import socket

SEND_BUFFER_BYTES = 1 << 20
"""A large body crosses in a few turns of the two processes instead of twenty. The kernel takes what is sent only, and
grants no more than ``net.core.wmem_max``."""


def send_far_ahead(transport: asyncio.BaseTransport) -> None:
    """Let the kernel hold more of what this side has written and the peer has not read."""
    peer = transport.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
