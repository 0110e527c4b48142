"""Replaying a trace through Sizewise and through other autoscalers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sizewise.protocols.errors import RuntimeMissingError

if TYPE_CHECKING:
    from sizewise.simulation.comparing import Compared, OnProgress


@dataclass(frozen=True, slots=True)
class Plot:
    """SVG as text."""

    svg: str

    def _repr_html_(self) -> str:
        return self.svg


@dataclass(frozen=True, slots=True)
class Comparison:
    """What each policy did. Rows are plain values; ``compared`` holds everything."""

    compared: "Compared"

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.rows())

    def rows(self) -> list[Mapping[str, Any]]:
        """One row a policy, with the figures of ``sizewise simulate -o json``."""
        from sizewise.simulation.figures import figures

        return [figures(outcome) for outcome in self.compared.outcomes]

    def as_json(self) -> Mapping[str, Any]:
        """What ``sizewise simulate -o json`` prints."""
        from sizewise.simulation.figures import as_json

        return as_json(self.compared)

    def timeline(self) -> list[Mapping[str, Any]]:
        """Replicas over time: ``policy, at_s, ready, loading``."""
        return [
            {"policy": outcome.label, "at_s": at_s, "ready": ready, "loading": loading}
            for outcome in self.compared.outcomes
            for at_s, ready, loading in zip(
                outcome.curves.at_s, outcome.curves.ready, outcome.curves.loading, strict=True
            )
        ]

    def models(self) -> list[Mapping[str, Any]]:
        """``policy, model, requests, served, attainment``."""
        return [
            {"policy": outcome.label, "model": name, **row}
            for outcome in self.compared.outcomes
            for name, row in outcome.by_model.items()
        ]

    def decisions(self) -> list[Mapping[str, Any]]:
        """Those that changed something: ``policy, at_s, model, desired, reason``."""
        return [
            {"policy": outcome.label, "at_s": at_s, "model": model, "desired": desired, "reason": reason}
            for outcome in self.compared.outcomes
            for at_s, model, desired, reason in outcome.decisions
        ]

    def ladder(self) -> list[Mapping[str, Any]]:
        """The regret ladder, after ``full=True``: ``name, cost, attainment``."""
        return [asdict(rung) for rung in self.compared.ladder]

    def frontiers(self) -> list[Mapping[str, Any]]:
        """Each policy in other settings, after ``full=True``: ``policy, mean_replicas, attainment_model_minutes``."""
        return [
            {"policy": label, "mean_replicas": point.cost, "attainment_model_minutes": point.attainment}
            for label, points in self.compared.frontiers.items()
            for point in points
        ]

    def cold_starts(self) -> list[Mapping[str, Any]]:
        """Starts of models that had no replica: ``policy, model, bytes, seconds``."""
        return [
            {"policy": outcome.label, "model": model, "bytes": bytes_, "seconds": seconds}
            for outcome in self.compared.outcomes
            for model, bytes_, seconds in outcome.cold_loads
        ]

    def html(self) -> str:
        """One file with all figures, charts and decisions; nothing is loaded from anywhere."""
        from sizewise.simulation.report import as_html

        return as_html(self.compared)

    def plot(self, of: str = "cost") -> "Plot":
        """A chart that a notebook shows: ``cost``, ``replicas``, ``demand``, ``latency``, ``cold_starts`` or, after
        ``full=True``, ``ladder``."""
        from sizewise.simulation.report import chart_of

        return Plot(chart_of(self.compared, of))

    def frame(self, of: str = "rows") -> Any:
        """``rows``, ``timeline``, ``models``, ``decisions``, ``cold_starts``, ``frontiers`` or ``ladder`` as a pandas
        frame. Raises RuntimeMissingError."""
        try:
            import pandas as pd
        except ImportError:
            raise RuntimeMissingError("pandas", "simulation") from None
        tables = {
            "rows": self.rows,
            "timeline": self.timeline,
            "models": self.models,
            "decisions": self.decisions,
            "cold_starts": self.cold_starts,
            "frontiers": self.frontiers,
            "ladder": self.ladder,
        }
        return pd.DataFrame(tables[of]())


def simulate(
    scenario: str | Path,
    *,
    policies: Sequence[str] | None = None,
    seed: int | None = None,
    full: bool = False,
    cache: str | Path | None = None,
    on_progress: "OnProgress" = lambda _name, _share: None,
) -> Comparison:
    """What Sizewise and other autoscalers would have done in the scenario of a YAML file.

    ``policies`` such as ``["sizewise", "hpa:calibrated"]`` stand in for those of the file. Raises SpecError and
    UsageError for whatever is wrong in it or in its trace. Several policies run in processes of their own. ``full``
    runs each policy in other settings too, and the regret ladder: five to ten times the work. ``cache`` is a folder in
    which the settings are kept that ``mode: tuned`` found.
    """
    from sizewise.simulation.comparing import compare
    from sizewise.simulation.parsing import choice, load_scenario

    read = load_scenario(Path(scenario))
    if seed is not None:
        read = replace(read, seed=seed)
    chosen = None if policies is None else [choice(name) for name in policies]
    compared = compare(read, chosen, full=full, kept=None if cache is None else Path(cache), on_progress=on_progress)
    return Comparison(compared)
