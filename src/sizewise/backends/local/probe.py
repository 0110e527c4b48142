"""Asking a server the user brought whether it is ready."""

import asyncio
import contextlib

PROBE_TIMEOUT_S = 5.0


def counts_as_ready(path: str, status: int) -> bool:
    """An explicit path answers 200 to 399, as with Kubernetes' probes. Of ``/``, which nobody promised to exist,
    any answer below 500 shows that the server is up."""
    return 200 <= status < (500 if path == "/" else 400)


async def get_status(port: int, path: str) -> int | None:
    """Status of one GET on the loopback address, None when there is no HTTP answer within 5 s."""
    with contextlib.suppress(OSError, TimeoutError, ValueError, IndexError):
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: sizewise-ready\r\n"
                writer.write(f"{head}Accept: */*\r\nConnection: close\r\n\r\n".encode())
                return int((await reader.readline()).split()[1])
            finally:
                writer.close()
    return None
