"""The controller with a perfect forecast: what its rule does when nothing about demand has to be guessed.

Letters at the end of names: ``M`` models, ``T`` slots of time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sizewise.controller.counters import Counters
from sizewise.controller.ledger import Ledger
from sizewise.core.fleet import Demand
from sizewise.simulation.scenario import SimModel
from sizewise.simulation.workload import Workload, counted

SLOT_S = 5.0
CELLS_MOST = 20_000_000
"""Models times slots: beyond, slots grow."""
SHORTEST_S, LONGEST_S = 15.0, 60.0
"""Rates are means over half a load, within these: what is shorter is chance."""


class Future:
    """The rates that will come, by model."""

    def __init__(self, workload: Workload, models: Sequence[SimModel]) -> None:
        count = len(models)
        self._slot_s = max(SLOT_S, workload.end_s * count / CELLS_MOST)
        counts = np.array(counted(workload, [self._slot_s] * count, from_s=0.0))
        self._summed_MT = np.concatenate((np.zeros((count, 1)), np.cumsum(counts, axis=1)), axis=1)
        self._leads_s = [model.loading.median_s for model in models]
        self._index: Mapping[str, int] = {name: i for i, name in enumerate(workload.names)}

    def seen(self, name: str, demand: Demand, now_s: float) -> Demand:
        """The demand with true rates in place of those that were measured, and nothing left to be prepared for."""
        model = self._index[name]
        lead_s = self._leads_s[model]
        rates = self._rates(model, now_s, lead_s)
        return replace(
            demand,
            burst_per_s=rates[0],
            stable_per_s=rates[0],
            envelope=(),
            forecast_per_s=max(rates),
            forecast_lead_s=lead_s,
        )

    def _rates(self, model: int, now_s: float, lead_s: float) -> list[float]:
        """Requests per second from each slot of the lead on."""
        summed = self._summed_MT[model]
        window = max(1, round(min(LONGEST_S, max(SHORTEST_S, lead_s / 2)) / self._slot_s))
        first = min(int(now_s / self._slot_s), len(summed) - 2)
        begins = np.arange(first, first + 1 + math.ceil(lead_s / self._slot_s))
        ends = np.minimum(begins + window, len(summed) - 1)
        begins = np.minimum(begins, len(summed) - 2)
        rates: list[float] = ((summed[ends] - summed[begins]) / ((ends - begins) * self._slot_s)).tolist()
        return rates


class ForeseeingLedger(Ledger):
    def __init__(self, counters: Counters, future: Future) -> None:
        super().__init__(counters)
        self._future = future

    def demand(self, model: str, now_s: float) -> Demand:
        return self._future.seen(model, super().demand(model, now_s), now_s)
