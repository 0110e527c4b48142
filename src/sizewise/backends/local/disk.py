"""Loads never fight for the disk: one model is read from it at a time, in the order in which loads were ordered."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from sizewise.core.units import MIB
from sizewise.system.pagecache import in_memory

QUICK_BYTES = 16 * MIB
"""Read in a moment, and not worth a turn."""
COLD_SHARE = 0.1
"""With a larger share of its files to be read, a load takes its turn."""
PATIENCE_S = 60.0
"""Then it goes on beside the one before, which is stuck rather than reading."""


class Disk:
    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self, folder: str) -> AsyncIterator[None]:
        """Held while the files in this folder are loaded, if they must be read from disk; at once otherwise."""
        files = _files(Path(folder)) if folder else []
        if not files or not await asyncio.to_thread(_must_be_read, files):
            yield
            return
        taken = False
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    taken = await self._turn.acquire()
            yield
        finally:
            if taken:
                self._turn.release()


def _files(folder: Path) -> list[Path]:
    """Those in it; none where all together are read in a moment."""
    with contextlib.suppress(OSError):  # the load itself will say what is wrong with them
        files = [path for path in folder.rglob("*") if path.is_file()]
        if sum(path.stat().st_size for path in files) > QUICK_BYTES:
            return files
    return []


def _must_be_read(files: Sequence[Path]) -> bool:
    try:
        return in_memory(files) < 1 - COLD_SHARE
    except OSError:
        return False
