"""The models that are deployed, in memory and in the state; whoever waits for a change is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

from sizewise.controller.records import ModelRecord
from sizewise.controller.state import StateStore
from sizewise.protocols.errors import NotFoundError

T = TypeVar("T")


class Registry:
    def __init__(self, state: StateStore) -> None:
        self._state = state
        self._records: dict[str, ModelRecord] = {}
        self._changed = asyncio.Condition()
        self._holding = 0
        self._collecting = asyncio.Lock()

    async def open(self) -> None:
        self._records = await self._state.models()

    def __iter__(self) -> Iterator[ModelRecord]:
        return iter(tuple(self._records.values()))

    def __len__(self) -> int:
        return len(self._records)

    def find(self, name: str) -> ModelRecord | None:
        return self._records.get(name)

    def get(self, name: str) -> ModelRecord:
        record = self._records.get(name)
        if record is None:
            known = ", ".join(sorted(self._records)) or "none is deployed"
            raise NotFoundError("model", name, f"deployed are: {known}")
        return record

    async def put(self, record: ModelRecord) -> None:
        if self._records.get(record.name) != record:
            await self._state.put_model(record)
            self._records[record.name] = record
            await self.notify()

    async def delete(self, name: str) -> None:
        await self._state.delete_model(name)
        self._records.pop(name, None)
        await self.notify()

    async def notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def wait_for(self, ready: Callable[[], T], timeout_s: float) -> T:
        """The first true value of ``ready``, looked at after each change. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s), self._changed:
            return await self._changed.wait_for(ready)

    @contextlib.asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """What is stored inside is not yet referenced, and is not taken for garbage."""
        async with self._collecting:
            self._holding += 1
        try:
            yield
        finally:
            self._holding -= 1

    @contextlib.asynccontextmanager
    async def collecting(self) -> AsyncIterator[bool]:
        """Whether garbage may be collected inside; nothing is stored meanwhile."""
        async with self._collecting:
            yield self._holding == 0

    def hashes(self) -> set[str]:
        """Artifacts that somebody may need."""
        return {version.hash for record in self for version in record.versions}
