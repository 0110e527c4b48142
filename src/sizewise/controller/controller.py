"""The controller: reads, thinks, writes, every second and whenever something happens.

The same class runs against a real machine, a fake and a simulator: backend, clock and identifiers are passed in.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sizewise.controller import placing, status, watch
from sizewise.controller.acting import Acting
from sizewise.controller.charges import overhead_bytes
from sizewise.controller.counters import Counters
from sizewise.controller.deploy import Deployer, Difference
from sizewise.controller.housekeeping import Housekeeper
from sizewise.controller.journal import Journal, effects_of, record_of
from sizewise.controller.ledger import Ledger, Outlook
from sizewise.controller.parts import Parts
from sizewise.controller.records import ModelRecord, Rollout, VersionRecord
from sizewise.controller.registry import Registry
from sizewise.controller.report import Explanation, ModelStatus, Status
from sizewise.controller.rollout import advance
from sizewise.controller.spec import ModelSpec, Spec
from sizewise.controller.view import Budget, Surroundings, view_of
from sizewise.controller.waking import Waker
from sizewise.core.alternatives import with_alternatives
from sizewise.core.decide import decide
from sizewise.core.density import pack, place
from sizewise.core.fleet import Demand, FleetDecision, FleetView, ReplicaState
from sizewise.core.profiles import ModelProfile
from sizewise.core.reasons import render
from sizewise.core.waking import Woken, settled
from sizewise.protocols.backend import (
    Action,
    Event,
    EventKind,
    Snapshot,
)
from sizewise.protocols.errors import SizewiseError, UnavailableError, UsageError

log = logging.getLogger(__name__)

TICK_S = 1.0
KEEP_EVERY_S = 10.0
"""Counters and live figures are written this often: what is lost with a crash is less than that."""
RECONNECT_S = 1.0
RESTS = 3.0
"""After a step the controller sees to nothing but models that wake for this many times as long as the step took."""
EFFECT_S, RETRY_S = 5.0, 0.1
FRESH_S = 0.05
LOOK_S = 0.5
"""Whoever asks for figures gets none that are older than this, unless a look takes longer than that."""


class Controller:
    """``open`` first, then ``run``, or ``step`` by step."""

    def __init__(self, parts: Parts, budget: Budget) -> None:
        self._parts = parts
        self.budget = budget
        self.registry = Registry(parts.state)
        self.counters = Counters()
        self.ledger = Ledger(self.counters)
        self.snapshot = Snapshot(at_s=parts.clock.now_s())
        self.profiles: dict[str, ModelProfile] = {}
        self.parking = watch.Parking()
        self.company = placing.Company()
        self.stopping = asyncio.Event()
        self.drain_s = 30.0
        self._journal = Journal(parts.state)
        self.data_url = self.grpc_address = self.admin_url = ""
        self._stepping = asyncio.Lock()
        self._poked = asyncio.Event()
        self._kept_at_s = parts.clock.now_s()
        self._housekeeper = Housekeeper(
            registry=self.registry,
            store=parts.store,
            weigher=parts.weigher,
            budget=budget,
            since_s=parts.clock.now_s(),
            former=parts.former,
        )
        self._acting = Acting(
            registry=self.registry,
            parking=self.parking,
            profiles=self.profiles,
            cpus=budget.cpus,
            new_id=parts.new_id,
            form_of=self._housekeeper.form_of,
        )
        self.waker = Waker(self.registry, parts.clock, stepping=self._stepping, start=self._start_woken, poke=self.poke)
        self._deployer = Deployer(
            self.registry,
            parts.store,
            weigher=parts.weigher,
            profiles=self.profiles,
            have_bytes=lambda: self.budget.memory_bytes - overhead_bytes(self.snapshot),
            unix_s=parts.unix_s,
        )

    async def open(self) -> None:
        """Take over what the state and the backend know."""
        await self.registry.open()
        self.counters = Counters(await self._parts.state.note("counters"))
        self.ledger = Ledger(self.counters)
        self.ledger.restore(await self._parts.state.note("live"), self._parts.boot)
        # Sizewise's own processes take their share of the budget before the first deploy is judged
        self.snapshot = await self._parts.backend.observe()
        await self._weigh()

    async def run(self) -> None:
        """Until cancelled. A tick that fails is logged, and the next goes on."""
        listening = asyncio.ensure_future(self._listen())
        try:
            while True:
                self._poked.clear()
                began_s = self._parts.clock.now_s()
                try:
                    await self.step()
                except SizewiseError as error:
                    log.warning("this tick changed nothing: %s", error)
                except Exception:
                    log.exception("this tick changed nothing")
                # Events come by the hundred where models do, and each step looks at all of them
                rest_s = min(TICK_S, RESTS * (self._parts.clock.now_s() - began_s))
                if rest_s > 0:
                    await self._parts.clock.sleep(rest_s)
                await self._pause(TICK_S - rest_s)
        finally:
            listening.cancel()
            self.waker.close()
            await self._housekeeper.close()
            await self._keep()

    async def step(self) -> tuple[Action, ...]:
        """Observe, decide, act, record: once."""
        async with self._stepping:
            snapshot = await self._parts.backend.observe()
            now_s = self._parts.clock.now_s()
            if snapshot.problems and not snapshot.replicas:
                # Replicas that are not seen may run all the same: starting them again would double them.
                self.snapshot = replace(self.snapshot, problems=snapshot.problems)
                raise UnavailableError(f"nothing is decided on what cannot be seen: {'; '.join(snapshot.problems)}")
            await self._absorb(snapshot, now_s)
            packed = pack(self._view(snapshot, now_s))
            decision = decide(packed.view)
            self.ledger.fleet_state = decision.state
            placement = place(packed, decision)
            actions = self._acting.of_step(snapshot, decision, packed, placement=placement)
            if actions:
                await self._parts.backend.apply(actions)
            await self._took(decision, packed.view, actions)
            self.waker.settled = settled(packed, decision, placement)
            await self.company.learn(self.registry, snapshot, placement)
            await self._tidy(now_s)
        await self.registry.notify()
        return actions

    async def refresh(self) -> None:
        """Have figures that are at most ``FRESH_S`` old, as far as that takes no longer than ``LOOK_S``."""
        if self._parts.clock.now_s() - self.snapshot.at_s > FRESH_S:
            stepping = asyncio.ensure_future(self.step())
            stepping.add_done_callback(_read_outcome)
            await asyncio.wait((stepping,), timeout=LOOK_S)

    async def take_effect(self, within_s: float = EFFECT_S) -> None:
        """Have clients find every model that is deployed, as far as that does not take long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while any(record.name not in self._acting.published for record in self.registry):
                    stepping = asyncio.ensure_future(self.step())
                    stepping.add_done_callback(_read_outcome)
                    try:
                        await asyncio.shield(stepping)
                    except SizewiseError:  # the gateway is starting still
                        await self._parts.clock.sleep(RETRY_S)

    def poke(self) -> None:
        """Look at once."""
        self._poked.set()

    async def deploy(self, wants: ModelSpec, *, code_allowed: bool) -> ModelRecord:
        record = await self._deployer.deploy(wants, origin="deploy", code_allowed=code_allowed)
        self.parking.forgive(wants.name)
        self.poke()
        return record

    async def undeploy(self, name: str) -> None:
        await self._deployer.undeploy(name)
        self._forget(name)
        self.poke()

    async def apply_spec(self, spec: Spec, *, prune: bool, code_allowed: bool) -> Difference:
        difference = await self._deployer.apply(spec, prune=prune, code_allowed=code_allowed)
        for name in difference.removed:
            self._forget(name)
        for name in (*difference.added, *difference.changed):
            self.parking.forgive(name)
        self.poke()
        return difference

    async def wait_settled(self, name: str, timeout_s: float) -> Rollout | None:
        """Until no change of version is under way; how the last one went. Raises TimeoutError."""
        self.registry.get(name)

        def settled() -> bool:
            record = self.registry.find(name)
            return record is None or record.candidate is None

        await self.registry.wait_for(settled, timeout_s)
        return self.registry.get(name).rollout

    async def pin(self, name: str, replicas: int | None) -> None:
        """What somebody asked for by hand; None lets the policy choose again."""
        await self.registry.put(replace(self.registry.get(name), pinned=replicas))
        self.poke()

    def request_profile(self, name: str) -> None:
        record = self.registry.get(name)
        if record.serving.facts.runtime == "command":
            raise UsageError(f"model {name!r} is a server of your own: it is measured from outside while it serves")
        self._housekeeper.request_profile(record.name)
        self.poke()

    def request_shutdown(self, drain_s: float) -> None:
        self.drain_s = drain_s
        self.stopping.set()

    def demand(self, name: str) -> Demand:
        return self.ledger.demand(name, self._parts.clock.now_s())

    def cold_starts(self, name: str) -> int:
        return self.ledger.of(name).cold_starts

    def status(self) -> Status:
        return status.fleet_status(self, self._parts.clock.now_s(), self._parts.unix_s())

    def model_status(self, name: str) -> ModelStatus:
        record = self.registry.get(name)
        return status.model_status(self, record, now_s=self._parts.clock.now_s(), now_unix_s=self._parts.unix_s())

    @property
    def disk_used_bytes(self) -> int:
        return self._housekeeper.disk_used_bytes

    def form_note(self, version: VersionRecord) -> str | None:
        return self._housekeeper.form_note(version.hash)

    def profile(self, version: VersionRecord) -> ModelProfile:
        return self.profiles[version.hash]

    def failure(self, name: str) -> str | None:
        """Why a model cannot be woken, for people."""
        now_s = self._parts.clock.now_s()
        decision = self.ledger.of(name).decision
        if decision is not None and decision.reason.code == "too_large":
            return render(decision.reason)
        return self.parking.failure(name, now_s)

    async def explain(self, name: str, limit: int) -> list[Explanation]:
        self.registry.get(name)
        return await self._journal.explain(name, limit)

    async def _listen(self) -> None:
        """Events are hints to look at once. A stream that breaks is taken up again."""
        while True:
            with contextlib.suppress(SizewiseError, OSError):
                async for event in self._parts.backend.events():
                    if event.kind is EventKind.GATEWAY:
                        self._acting.published.clear()
                    if event.kind is EventKind.REPOSITORY:
                        await self._asked(event)
                    if event.kind is EventKind.POISON:
                        log.warning("model %s: a request that killed two replicas: %s", event.model, event.detail)
                    if event.kind is EventKind.COLD:
                        self.waker.ask(event.model)
                    else:
                        self.poke()
            await self._parts.clock.sleep(RECONNECT_S)

    async def _asked(self, event: Event) -> None:
        """A client loads or unloads by hand, and the policy has no say until the model is deployed again."""
        if self.registry.find(event.model) is not None:
            self.parking.forgive(event.model)
            await self.pin(event.model, 0 if "unload" in event.detail else 1)

    async def _pause(self, seconds: float) -> None:
        sleeping = asyncio.ensure_future(self._parts.clock.sleep(seconds))
        waking = asyncio.ensure_future(self._poked.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    async def _weigh(self) -> None:
        """Profiles of all versions that are deployed; files are read in a thread, once."""
        for record in self.registry:
            for version in record.versions:
                if version.hash not in self.profiles:
                    self.profiles[version.hash] = await asyncio.to_thread(self._parts.weigher.profile, version)

    async def _absorb(self, snapshot: Snapshot, now_s: float) -> None:
        """Everything that is remembered of what is seen."""
        keeper, before = _keeper_of(snapshot), _keeper_of(self.snapshot)
        if keeper != before:
            self._acting.published.clear()
        self.snapshot = snapshot
        await self._weigh()
        memory_bytes, unix_s = self.budget.memory_bytes, self._parts.unix_s()
        outlook = Outlook(profiles=self.profiles, memory_bytes=memory_bytes, unix_s=unix_s)
        self.ledger.absorb(snapshot, self.registry, outlook=outlook)
        for record in self.registry:
            own = snapshot.replicas_of(record.name)
            self.parking.absorb(record, own, now_s=now_s)
            advanced = advance(record, own, now_s=now_s, unix_s=unix_s)
            if advanced is not record:
                log.info("model %s: rollout %s", record.name, advanced.rollout)
                await self.registry.put(advanced)

    def _view(self, snapshot: Snapshot, now_s: float) -> FleetView:
        around = Surroundings(
            ledger=self.ledger,
            profiles=self.profiles,
            budget=self.budget,
            parked_until_s=self.parking.until_s(now_s),
            memory_floor_bytes=self.parking.memory_floors_bytes(),
            room_bytes=self.budget.memory_bytes - overhead_bytes(snapshot),
        )
        return view_of(snapshot, self.registry, around, now_s=now_s)

    async def _start_woken(self, woken: Woken, records: Mapping[str, ModelRecord]) -> None:
        actions = self._acting.of_woken(woken, records, self.snapshot)
        await self._parts.backend.apply(actions)
        await self._took(woken.decision, woken.view, actions)

    async def _took(self, decision: FleetDecision, view: FleetView, actions: tuple[Action, ...]) -> None:
        """Remember what was decided and done."""
        effects, kept = effects_of(actions, self.snapshot), []
        for decided, model in zip(decision.models, view.models, strict=True):
            track = self.ledger.of(decided.name)
            track.decision, track.state = decided, decided.state
            if decided.start and not any(r.state is ReplicaState.READY for r in model.replicas):
                track.cold_starts += 1
            effect = effects.get(decided.name, ())
            if self._journal.due(decided, model, effect=effect, now_s=view.now_s):
                weighed = with_alternatives(decided, model, view)
                kept.append(record_of(weighed, model, effect=effect, at_unix_s=self._parts.unix_s()))
        self._acting.took(actions)
        await self._journal.keep(kept)

    async def _tidy(self, now_s: float) -> None:
        """What may wait until everything urgent is done."""
        await self._housekeeper.tidy(self.snapshot, self.ledger, self.profiles, now_s=now_s)
        if self._parts.state.durable and now_s - self._kept_at_s >= KEEP_EVERY_S:
            self._kept_at_s = now_s
            await self._keep()

    async def _keep(self) -> None:
        notes = {"counters": self.counters.to_keep(), "live": self.ledger.to_keep(self._parts.boot)}
        await self._parts.state.put_notes(notes)

    def _forget(self, name: str) -> None:
        self.ledger.forget(name)
        self.parking.forgive(name)
        self._journal.forget(name)


def _keeper_of(snapshot: Snapshot) -> int | None:
    """A new keeper is told everything again."""
    return next((p.pid for p in snapshot.processes if p.role == "keeper"), None)


def _read_outcome(stepping: "asyncio.Future[Any]") -> None:
    """The loop reports its own failures, and meets the same one within a second."""
    if not stepping.cancelled():
        stepping.exception()
