"""What a tick does when everything urgent is done: collecting garbage, and profiling while nobody asks for anything."""

import asyncio
from collections.abc import MutableMapping

from sizewise.controller.charges import overhead_bytes
from sizewise.controller.deploy import Weigher
from sizewise.controller.former import Former, Room
from sizewise.controller.idle import QUIET_S, IdleProfiler
from sizewise.controller.ledger import Ledger
from sizewise.controller.records import ModelRecord
from sizewise.controller.registry import Registry
from sizewise.controller.view import Budget
from sizewise.core.fleet import ReplicaState
from sizewise.core.forms import Form
from sizewise.core.profiles import ModelProfile, Source
from sizewise.protocols.artifacts import VERSION_CHARS, ArtifactStore
from sizewise.protocols.backend import Snapshot

LOADING = frozenset({ReplicaState.STARTING, ReplicaState.LOADING})


class Housekeeper:
    """``since_s`` is when the controller began: what happened before is not known, so it counts as activity."""

    def __init__(
        self,
        *,
        registry: Registry,
        store: ArtifactStore,
        weigher: Weigher,
        budget: Budget,
        since_s: float,
        former: Former | None = None,
    ) -> None:
        self._artifact_bytes = 0
        self._registry = registry
        self._store = store
        self._weigher = weigher
        self._budget = budget
        self._former = former
        self._since_s = since_s
        self._snapshot = Snapshot(at_s=since_s)
        self._profiles: MutableMapping[str, ModelProfile] = {}
        self._collected: tuple[set[str], set[str]] | None = None
        """Artifacts that were referenced, and those that may have no form, when garbage was last collected."""
        self._plain: set[str] = set()
        """Artifacts that a model is to be served from as they were deployed."""
        self._idle = IdleProfiler(self._measure, self._measured)

    async def tidy(
        self, snapshot: Snapshot, ledger: Ledger, profiles: MutableMapping[str, ModelProfile], *, now_s: float
    ) -> None:
        self._snapshot, self._profiles = snapshot, profiles
        self._plain = {v.hash for record in self._registry if not record.wants.load_ready for v in record.versions}
        unmeasured = [
            record
            for record in self._registry
            if record.serving.path and profiles[record.serving.hash].source is Source.ESTIMATED
        ]
        forming = await self._form()
        # A form is weighed once it is there: what would be measured now would not be what runs then
        idle = self._is_idle(ledger, now_s) and not forming
        await self._idle.look(idle=idle, unmeasured=unmeasured, known=self._registry.find)
        if (self._registry.hashes(), self._plain) != self._collected:
            await self._collect()

    @property
    def disk_used_bytes(self) -> int:
        """By artifacts and by their load-ready forms."""
        return self._artifact_bytes + (self._former.store.used_bytes if self._former is not None else 0)

    def request_profile(self, model: str) -> None:
        self._idle.request(model)

    async def close(self) -> None:
        await self._idle.close()
        if self._former is not None:
            await self._former.close()

    def form_of(self, content_hash: str) -> Form | None:
        """The load-ready form of an artifact that replicas open."""
        if self._former is None or content_hash in self._plain:
            return None
        return self._former.store.find(content_hash)

    def form_note(self, content_hash: str) -> str | None:
        """What it is opened from, or why it is not; None where there is nothing to say."""
        if (form := self.form_of(content_hash)) is not None:
            return f"load-ready form {form.name}"
        why = self._former.why_not(content_hash) if self._former is not None else None
        return None if why is None else f"no load-ready form: {why}"

    async def _form(self) -> bool:
        """See to the load-ready forms of what is deployed; whether one is being made."""
        if self._former is None:
            return False
        versions = [(record.name, version) for record in self._registry for version in record.versions]
        for _, version in versions:
            form = self.form_of(version.hash)
            if self._profiles[version.hash].form != (form.key if form else ""):
                self._profiles[version.hash] = await asyncio.to_thread(self._weigher.profile, version)
        loading = any(r.state in LOADING for r in self._snapshot.replicas)
        room = Room(disk_bytes=self._budget.disk_bytes - self.disk_used_bytes, memory_bytes=self._free_memory_bytes())
        if self._collected is not None and not loading:
            await self._former.look([v for v in versions if v[1].hash not in self._plain], self._profiles, room)
        return self._former.busy

    async def _collect(self) -> None:
        """Remove artifacts that nobody refers to and no replica has open."""
        async with self._registry.collecting() as may:
            if not may:
                return
            needed, plain = self._registry.hashes(), set(self._plain)
            in_use = {replica.version for replica in self._snapshot.replicas}
            in_use |= {held.version for held in self._snapshot.warm}
            stored = await asyncio.to_thread(self._store.sizes)
            garbage = [h for h in stored if h not in needed]
            removed = [h for h in garbage if h[:VERSION_CHARS] not in in_use]
            for content_hash in removed:
                await asyncio.to_thread(self._store.remove, content_hash)
            self._artifact_bytes = sum(size for h, size in stored.items() if h not in removed)
            if self._former is not None:
                await asyncio.to_thread(self._former.store.sweep, needed - plain, self._former.keys())
            # What is still open is looked at again at the next tick.
            self._collected = (needed, plain) if removed == garbage else None
            for gone in self._profiles.keys() - needed:
                del self._profiles[gone]

    def _is_idle(self, ledger: Ledger, now_s: float) -> bool:
        """Nobody asks, nothing loads, and no version is changing."""
        if now_s - self._since_s < QUIET_S or any(r.state in LOADING for r in self._snapshot.replicas):
            return False
        for record in self._registry:
            demand = ledger.demand(record.name, now_s)
            if demand.in_flight or demand.queued or demand.idle_s < QUIET_S or record.candidate is not None:
                return False
        return True

    async def _measure(self, record: ModelRecord) -> ModelProfile:
        return await self._weigher.measure(record, self._free_memory_bytes())

    def _free_memory_bytes(self) -> int:
        used = overhead_bytes(self._snapshot) + sum(r.memory_bytes for r in self._snapshot.replicas)
        used += sum(each.bytes for each in self._snapshot.warm)
        return self._budget.memory_bytes - used

    def _measured(self, content_hash: str, profile: ModelProfile) -> None:
        self._profiles[content_hash] = profile
