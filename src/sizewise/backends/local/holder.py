"""The holder: keeps files of models in memory that no replica has mapped, and reads them without getting in the way.

python -m sizewise.backends.local.holder --run-dir R --state-dir D

It lives longer than a keeper, which tells it everything there is to hold in one message; see docs/architecture.md.
"""

import argparse
import asyncio
import contextlib
import logging
import math
import mmap
import os
import signal
import sys
import time
from pathlib import Path

import psutil
from setproctitle import setproctitle

from sizewise.protocols.control import ControlServer, Message
from sizewise.protocols.errors import UnavailableError

log = logging.getLogger(__name__)

SOCKET = "holder.sock"
CHUNK_BYTES = 8 << 20
"""Mapped at once: a few milliseconds from a good disk, after which somebody else may be served first."""
RESUME_S = 120.0
"""A pause ends by itself after this: a keeper that died while it waited for a load says nothing more."""
TOUCH_EVERY_S = 15.0
"""Pages that nobody touches are the first that the kernel, or the host of a virtual machine, takes back."""
NICE = 10
MADV_POPULATE_READ = 22
"""Fails where a plain access would end the process: a file that became shorter, a disk that cannot be read."""
PAGE_BYTES = mmap.PAGESIZE


class Holding:
    """Files of one model, mapped; ``step`` by ``step`` brought into memory."""

    def __init__(self, path: str, files: tuple[str, ...]) -> None:
        self.path = path
        self.bytes = 0
        """In memory, as far as it has come in its first round."""
        self._maps = [each for each in (_mapped(Path(path) / name) for name in files) if each is not None]
        self._file = self._offset = 0
        self._first = True

    def step(self) -> bool:
        """Bring in or touch the next piece; False when the round is over."""
        while self._file < len(self._maps):
            area = self._maps[self._file]
            size = min(CHUNK_BYTES, len(area) - self._offset)
            if size <= 0:
                self._file, self._offset = self._file + 1, 0
                continue
            _populate(area, self._offset, size)
            self._offset += size
            self.bytes += size if self._first else 0
            return True
        self._file = self._offset = 0
        self._first = False
        return False

    def close(self) -> None:
        for area in self._maps:
            area.close()
        self._maps = []


class Holder:
    """Everything that is held. ``keep`` says what that is to be."""

    def __init__(self) -> None:
        self.held: dict[str, Holding] = {}
        self.ended = asyncio.Event()
        self._paused_until_s = -math.inf
        self._changed = asyncio.Event()

    async def handle(self, message: Message) -> Message | None:
        op = message.get("op")
        if op == "keep":
            self.keep(message["holds"], paused=bool(message["paused"]))
        elif op == "stop":
            self.ended.set()
        elif op != "list":
            raise UnavailableError(f"{op!r} is not an operation of the holder")
        return {"held": {model: {"path": h.path, "bytes": h.bytes} for model, h in self.held.items()}}

    def keep(self, holds: dict[str, Message], *, paused: bool) -> None:
        """Hold these and nothing else; ``paused`` while somebody waits for a model to be read from the same disk."""
        for model in tuple(self.held):
            if model not in holds or str(holds[model]["path"]) != self.held[model].path:
                self.held.pop(model).close()
        for model, wanted in holds.items():
            if model not in self.held:
                self.held[model] = Holding(str(wanted["path"]), tuple(wanted["files"]))
        self._paused_until_s = time.monotonic() + RESUME_S if paused else -math.inf
        self._changed.set()

    async def work(self) -> None:
        """Round after round, in the order in which things were asked for; what is new is brought in at once."""
        while True:
            self._changed.clear()
            for model, holding in tuple(self.held.items()):
                await self._round(model, holding)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), TOUCH_EVERY_S)

    async def _round(self, model: str, holding: Holding) -> None:
        while time.monotonic() >= self._paused_until_s and self.held.get(model) is holding:
            try:
                if not holding.step():
                    return
            except OSError as error:
                log.warning("files of %s cannot be held: %s", model, error)
                holding.bytes = 0
                holding.close()
                return
            await asyncio.sleep(0)


def _mapped(path: Path) -> mmap.mmap | None:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return mmap.mmap(file.fileno(), size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ) if size else None
    except OSError as error:
        log.warning("%s cannot be held: %s", path, error.strerror or error)
        return None


def _populate(area: mmap.mmap, offset: int, size: int) -> None:
    try:
        area.madvise(MADV_POPULATE_READ, offset, size)
    except OSError as error:
        if error.errno != 22:
            raise
        area[offset : offset + size : PAGE_BYTES]


async def run(run_dir: Path) -> None:
    holder = Holder()
    server = ControlServer(run_dir / SOCKET, holder.handle)
    await server.start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, holder.ended.set)
    working = asyncio.ensure_future(holder.work())
    ending = asyncio.ensure_future(holder.ended.wait())
    try:
        await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        await server.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="sizewise holder")
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--state-dir", type=Path, required=True, help="names the process")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s holder %(levelname)s %(message)s")
    setproctitle(f"sizewise holder --state-dir {arguments.state_dir}")
    os.nice(NICE)
    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    asyncio.run(run(arguments.run_dir))
    return 0


if __name__ == "__main__":
    sys.exit(main())
