"""What ``sizewise bench`` runs: one window, or the peak and then shares of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sizewise.core.slo import Slo
from sizewise.loadgen.request import Target
from sizewise.loadgen.run import Load, run
from sizewise.loadgen.schedule import Schedule, Spacing, constant
from sizewise.loadgen.tally import Window
from sizewise.loadgen.trace import read_trace, shaped
from sizewise.protocols.errors import UsageError

PEAK_CONNECTIONS = 64
"""Keeps most servers busy on every core; more adds queueing and little else."""
OPEN_CONNECTIONS = 256
"""Opened only as requests need them. Fewer would hold requests back and hide what a burst does."""
LEVELS = (0.5, 0.7, 0.9)
SECONDS = 10.0
OnProgress = Callable[[str, float], None]
"""What is being run, and the share of it that has passed, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """With neither rate nor trace nor connections: ``levels`` of the peak."""

    connections: int | None = None
    """Alone: a closed loop over so many. With a rate: the most that are opened; None is 256. With levels: those that
    measure the peak; None is 64."""
    rate_per_s: float | None = None
    trace: Path | None = None
    """CSV file: see ``read_trace``. Alone it is replayed as it is. With a rate it gives the shape only: its ups and
    downs are squeezed into ``seconds``, around that rate."""
    levels: tuple[float, ...] = ()
    """Shares of the peak, 0 to 1."""
    seconds: float | None = None
    """Counted time of each window; None is 10, or the length of a trace that is replayed."""
    warmup_s: float = 1.0
    spacing: Spacing = Spacing.poisson
    seed: int = 7
    timeout_s: float = 30.0
    slo: Slo | None = None
    """None takes the model's own."""
    body: Path | None = None
    binary: bool = False
    """Bodies made for a model hold binary tensors."""
    rows: int | None = None
    """Rows in a body made for a model; None is one, or what the model asks for."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    name: str
    share: float | None
    """Of the peak; None where no peak was measured."""
    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    url: str
    slo: Slo | None
    body_bytes: int
    first_answer_s: float
    """Time of one request before all others, which woke the model if it slept."""
    levels: tuple[Level, ...]

    @property
    def bottleneck(self) -> str | None:
        """Why the generator, not the server, limited one of the windows; None when it limited none."""
        found = (f"{level.name}: {level.window.bottleneck}" for level in self.levels if level.window.bottleneck)
        return next(found, None)


def checked(options: BenchOptions) -> BenchOptions:
    """Raises UsageError when options contradict each other."""
    chosen = {"--rate": options.rate_per_s, "--trace": options.trace, "--levels": options.levels or None}
    given = [name for name, value in chosen.items() if value is not None]
    if len(given) > 1 and options.levels:
        raise UsageError(f"{' and '.join(given)} cannot be combined: each says what the rate is")
    if not given and options.connections is None:
        return replace(options, levels=LEVELS)
    return options


async def bench(target: Target, options: BenchOptions, on_progress: OnProgress) -> tuple[Level, ...]:
    """Windows in the order in which they ran. Raises UsageError."""
    seconds = options.seconds or SECONDS

    async def measured(name: str, share: float | None, schedule: Schedule | None) -> Level:
        load = _load(options, schedule, seconds=schedule.seconds if schedule else seconds)
        window = await run(target, load, lambda passed: on_progress(name, passed))
        return Level(name=name, share=share, window=window)

    def steady(per_s: float) -> Schedule:
        return constant(per_s, seconds, spacing=options.spacing, seed=options.seed)

    if options.trace is not None:
        return (await measured("trace", None, _traced(options, options.trace)),)
    if options.rate_per_s is not None:
        return (await measured(f"{options.rate_per_s:,.0f}/s", None, steady(options.rate_per_s)),)
    if not options.levels:
        return (await measured("closed loop", None, None),)
    peak = await measured("peak", 1.0, None)
    if not peak.window.answered_per_s:
        return (peak,)
    later = [await measured(f"{s:.0%} of peak", s, steady(s * peak.window.answered_per_s)) for s in options.levels]
    return (peak, *later)


def _load(options: BenchOptions, schedule: Schedule | None, *, seconds: float) -> Load:
    closed = PEAK_CONNECTIONS if options.connections is None else options.connections
    # The connections that measure the peak do not bound the windows below it
    opened = None if options.levels else options.connections
    return Load(
        connections=closed if schedule is None else opened or OPEN_CONNECTIONS,
        seconds=seconds,
        warmup_s=options.warmup_s,
        timeout_s=options.timeout_s,
        slo_s=options.slo.latency_s if options.slo is not None else None,
        schedule=schedule,
    )


def _traced(options: BenchOptions, path: Path) -> Schedule:
    trace = read_trace(path)
    steps, length_s = trace
    seconds = min(length_s, options.seconds or length_s)
    if options.rate_per_s is not None:
        seconds = options.seconds or SECONDS
        steps = shaped(trace, mean_per_s=options.rate_per_s, seconds=seconds)
    return Schedule(steps=steps, seconds=seconds, spacing=options.spacing, seed=options.seed)
