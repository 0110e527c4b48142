"""What survives a restart of the controller, in SQLite: models, decisions, counters, live estimates.

One connection, used by one thread: SQLite has one writer, and the event loop never waits for a disk. Transactions
are short; with WAL, readers (``sqlite3 state.db`` by hand) disturb nobody.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson

from sizewise.controller.records import ModelRecord
from sizewise.core.fleet import Reason, Refused
from sizewise.protocols.errors import UnavailableError
from sizewise.protocols.serde import dumps, loads

T = TypeVar("T")
KEEP_DECISIONS = 1000
"""For each model. Only changes are kept, so this is days of ordinary traffic; older ones go."""
TRIM_EVERY = 64
"""Decisions of one model: counting to KEEP_DECISIONS in an index takes some 0.1 ms."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS models (name TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS decisions_by_model ON decisions (model, id);
CREATE TABLE IF NOT EXISTS notes (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

_TRIM = """
DELETE FROM decisions WHERE model = ?1 AND id <= (
    SELECT id FROM decisions WHERE model = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One decision about one model, as ``explain`` shows it."""

    model: str
    at_unix_s: float
    version: str
    desired: int
    wanted: int
    ready: int
    loading: int
    reason: Reason
    inputs: Mapping[str, float | int | str | None] = field(default_factory=dict)
    """What it was decided from: rates, queue, live figures."""
    refused: tuple[Refused, ...] = ()
    effect: tuple[str, ...] = ()
    """The actions that followed, as words."""
    expected_attainment: float | None = None


class StateStore:
    """``path`` None keeps everything in memory (simulation, tests)."""

    durable = True
    """Whether it outlives its controller: notes for another that never comes need not be written."""

    def __init__(self, path: Path | None) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state")
        self._untrimmed: dict[str, int] = {}
        """Decisions of each model since its old ones went; a model that is not named may have any number."""
        # Every later call runs in the one thread; only this one and close() do not.
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            self._db.close()
            raise UnavailableError(f"{path} cannot be opened: {error}: check disk space and permissions") from error

    async def models(self) -> dict[str, ModelRecord]:
        rows = await self._run(lambda db: db.execute("SELECT record FROM models ORDER BY name").fetchall())
        records = [loads(ModelRecord, text) for (text,) in rows]
        return {record.name: record for record in records}

    async def put_model(self, record: ModelRecord) -> None:
        text = dumps(record).decode()
        await self._run(
            lambda db: db.execute("INSERT OR REPLACE INTO models (name, record) VALUES (?, ?)", (record.name, text))
        )

    async def delete_model(self, name: str) -> None:
        await self._run(lambda db: _delete_model(db, name))

    async def add_decisions(self, records: Sequence[DecisionRecord]) -> None:
        if records:
            rows = [(record.model, dumps(record).decode()) for record in records]
            full = {record.model for record in records if self._counted(record.model) == TRIM_EVERY}
            await self._run(lambda db: _add_decisions(db, rows, full))

    def _counted(self, model: str) -> int:
        """Since old ones went, this one included."""
        before = self._untrimmed.get(model, TRIM_EVERY - 1)
        self._untrimmed[model] = (before + 1) % TRIM_EVERY
        return before + 1

    async def decisions(self, model: str, limit: int) -> list[DecisionRecord]:
        """The newest first."""
        query = "SELECT record FROM decisions WHERE model = ? ORDER BY id DESC LIMIT ?"
        rows = await self._run(lambda db: db.execute(query, (model, limit)).fetchall())
        return [loads(DecisionRecord, text) for (text,) in rows]

    async def note(self, key: str) -> Any:
        """A JSON value kept under a name; None when there is none."""
        row = await self._run(lambda db: db.execute("SELECT value FROM notes WHERE key = ?", (key,)).fetchone())
        return orjson.loads(row[0]) if row else None

    async def put_notes(self, notes: Mapping[str, Any]) -> None:
        """All of them or none."""
        rows = [(key, orjson.dumps(value).decode()) for key, value in notes.items()]
        query = "INSERT OR REPLACE INTO notes (key, value) VALUES (?, ?)"
        await self._run(lambda db: db.executemany(query, rows))

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transaction, work)

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            result = work(self._db)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise UnavailableError(f"state.db cannot be written: {error}: check disk space and permissions") from error
        return result


def _delete_model(db: sqlite3.Connection, name: str) -> None:
    db.execute("DELETE FROM models WHERE name = ?", (name,))
    db.execute("DELETE FROM decisions WHERE model = ?", (name,))


def _add_decisions(db: sqlite3.Connection, rows: list[tuple[str, str]], full: Collection[str]) -> None:
    """``full`` are the models whose oldest ones go."""
    db.executemany("INSERT INTO decisions (model, record) VALUES (?, ?)", rows)
    db.executemany(_TRIM, [(model, KEEP_DECISIONS) for model in full])
