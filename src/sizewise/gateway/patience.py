"""Once a second: has a client had its time? Nobody may hold a connection by doing nothing, or nearly nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sizewise.gateway.connection import Connection


def look(connection: Connection, now_s: float) -> None:
    """Close it, or answer 408, when its time is over."""
    limits, x = connection.limits, connection.x
    if connection.lingering or connection.stalled:
        _look_stuck(connection, now_s)
    elif connection.deaf:
        return
    elif x is None:
        if not connection.queue and now_s - connection.idle_since_s > limits.idle_s:
            connection.transport.close()
    elif connection.reading_paused or (connection.head_done and x.facts.expects and not x.continued):
        return  # it waits for us
    elif not connection.head_done:
        if now_s - connection.begun_s > limits.head_s:
            connection.fail_now(408, f"the headers did not arrive within {limits.head_s:g} s")
    elif now_s - connection.begun_s > limits.body_s + x.body_bytes / limits.body_bytes_per_s:
        text = f"{x.body_bytes} bytes of the body arrived in {now_s - connection.begun_s:.0f} s, then patience ended"
        connection.fail_now(408, f"{text}: send it faster")


def _look_stuck(connection: Connection, now_s: float) -> None:
    unsent_bytes = connection.transport.get_write_buffer_size()
    if connection.stalled and unsent_bytes < connection.unsent_bytes:
        connection.stuck_since_s = now_s
    connection.unsent_bytes = unsent_bytes
    limits = connection.limits
    if now_s - connection.stuck_since_s > (limits.linger_s if connection.lingering else limits.write_s):
        connection.transport.abort()
