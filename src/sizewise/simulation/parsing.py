"""``simulate``'s scenario file, with line numbers for whatever is wrong in it."""

import math
from dataclasses import replace
from pathlib import Path

from sizewise.controller.yaml_values import Value, compose
from sizewise.core.policies.registry import JOINT_POLICIES, POLICIES
from sizewise.core.warmth_policies import OURS, policy_of
from sizewise.core.warmth_policies import POLICIES as WARMTH
from sizewise.protocols.errors import UsageError
from sizewise.simulation.generators import KINDS, fitted
from sizewise.simulation.modelling import model_of, spread_of
from sizewise.simulation.scenario import (
    A_MINUTE,
    WEEKDAYS,
    Capacity,
    Dispatch,
    Generator,
    MachinePool,
    Metrics,
    Mode,
    PolicyChoice,
    Scenario,
    TraceSource,
)

TOP_KEYS = (
    *("trace", "generate", "models", "capacity", "policies", "shedding", "dispatch", "max_in_flight"),
    *("start_replicas", "decide_every_s", "wake_s", "metrics", "window", "warmth", "seed"),
)
TRACE_KEYS = ("path", "scale", "begins", "from_s", "to_s", "models", "columns")
MACHINE_KEYS = (
    *("cpus", "memory", "device_memory", "disk", "price_usd_per_h", "min", "max"),
    *("provision_s", "linger_s", "stock_outs", "load_slots"),
)
YEAR_S = 366 * 86400.0
OWN_MODES = frozenset({Mode.SIZE_BLIND, Mode.PERFECT_FORECAST})
SIZE_BLIND = "size_blind"
"""Also a name by itself, as of any other policy."""
OWN = "sizewise"


def policy_names() -> tuple[str, ...]:
    return (OWN, SIZE_BLIND, *POLICIES, *JOINT_POLICIES)


def load_scenario(path: Path) -> Scenario:
    """Raises SpecError or UsageError: what is wrong, on which line, and what is allowed."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text: give a scenario in YAML, see docs/simulate.md") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}: give a scenario in YAML, see docs/simulate.md") from error
    return parse_scenario(text, file=str(path), base=path.absolute().parent)


def parse_scenario(text: str, *, file: str, base: Path) -> Scenario:
    top = compose(text, file)
    keys = top.section(TOP_KEYS)
    if ("trace" in keys) == ("generate" in keys):
        raise top.fail("names no arrivals, or two kinds of them", "give exactly one of trace and generate")
    for needed in ("models", "capacity"):
        if needed not in keys:
            raise top.fail(f"has no {needed}", "see docs/simulate.md")
    if "policies" in keys:
        policies = tuple(_policy(item) for item in keys["policies"].items("give a list of policies"))
    else:
        policies = (choice(OWN),)
    if not policies:
        raise keys["policies"].fail("is empty", f"known are {', '.join(policy_names())}")
    models = keys["models"].members("give a name or * for each model")
    every_s = keys["decide_every_s"].number(0.1, 3600) if "decide_every_s" in keys else 1.0
    window = keys["window"].section(("warmup_s",)) if "window" in keys else {}
    return Scenario(
        file=file,
        source=_trace(keys["trace"], base) if "trace" in keys else _generator(keys["generate"]),
        models={name: model_of(value, base) for name, value in models.items()},
        capacity=_capacity(keys["capacity"]),
        policies=policies,
        shedding=keys["shedding"].flag() if "shedding" in keys else True,
        dispatch=_dispatch(keys["dispatch"]) if "dispatch" in keys else Dispatch.LEAST_OUTSTANDING,
        max_in_flight=keys["max_in_flight"].integer(1, 65536) if "max_in_flight" in keys else None,
        start_replicas=keys["start_replicas"].integer(0, 1000) if "start_replicas" in keys else 1,
        decide_every_s=every_s,
        wake_s=keys["wake_s"].number(0.001, 3600) if "wake_s" in keys else min(0.05, every_s),
        metrics=_metrics(keys["metrics"]) if "metrics" in keys else Metrics(),
        warmup_s=window["warmup_s"].number(0, YEAR_S) if "warmup_s" in window else 0.0,
        warmth=_warmth(keys["warmth"]) if "warmth" in keys else OURS,
        seed=keys["seed"].integer(0, 2**31 - 1) if "seed" in keys else 1,
    )


def choice(name: str, mode: Mode | None = None) -> PolicyChoice:
    """A policy by name, as ``--policy`` gives it: ``hpa``, or ``hpa:calibrated``."""
    word, _, asked = name.partition(":")
    if word not in policy_names():
        raise UsageError(f"{word!r} is no policy: known are {', '.join(policy_names())}")
    if asked:
        modes = [each.value for each in Mode]
        if asked not in modes:
            raise UsageError(f"{name!r} names no mode: use one of {', '.join(modes)}")
        mode = Mode(asked)
    if word == SIZE_BLIND:
        word, mode = OWN, Mode.SIZE_BLIND
    if mode in OWN_MODES and word != OWN:
        raise UsageError(f"{name!r}: {mode} is a mode of {OWN} alone")
    return PolicyChoice(name=word, mode=mode or Mode.STOCK)


def _policy(value: Value) -> PolicyChoice:
    if not value.is_mapping:
        try:
            return choice(value.text("give the name of a policy"))
        except UsageError as error:
            raise value.fail(*_split(str(error))) from error
    keys = value.members("give name, mode and parameters")
    if "name" not in keys:
        raise value.fail("has no name", f"known are {', '.join(policy_names())}")
    try:
        named = choice(keys["name"].text("give the name of a policy"))
    except UsageError as error:
        raise keys["name"].fail(*_split(str(error))) from error
    modes = ", ".join(each.value for each in Mode)
    word = keys["mode"].text(f"one of {modes}") if "mode" in keys else named.mode.value
    if word not in {each.value for each in Mode}:
        raise keys["mode"].fail(f"{word} is no mode", f"one of {modes}")
    if word in OWN_MODES and named.name != OWN:
        raise keys["mode"].fail(f"{named.name} is told no such thing in any mode", f"{word} is a mode of sizewise")
    parameters = {key: each.scalar() for key, each in keys.items() if key not in {"name", "mode"}}
    return PolicyChoice(name=named.name, mode=Mode(word), parameters=parameters, line=value.line)


def _split(text: str) -> tuple[str, str]:
    problem, _, allowed = text.partition(": ")
    return problem, allowed


def _trace(value: Value, base: Path) -> TraceSource:
    keys = value.section(TRACE_KEYS)
    if "path" not in keys:
        raise value.fail("has no path", "give the path of a CSV or Parquet file")
    columns = keys["columns"].section(("time", "model", "requests")) if "columns" in keys else {}
    named = {name: column.text("give the name of a column") for name, column in columns.items()}
    from_s = keys["from_s"].number(0, YEAR_S) if "from_s" in keys else 0.0
    to_s = keys["to_s"].number(from_s, YEAR_S) if "to_s" in keys else None
    if to_s == from_s:
        raise keys["to_s"].fail("is no later than from_s", "give a window that has a length")
    names = keys["models"].items("give a list of models") if "models" in keys else ()
    return TraceSource(
        path=base / keys["path"].text("give the path of a CSV or Parquet file"),
        time=named.get("time", "timestamp_s"),
        model=named.get("model", None if columns else "model"),
        requests=named.get("requests"),
        scale=keys["scale"].number(1e-6, 1e6) if "scale" in keys else 1.0,
        begins=keys["begins"].choice(WEEKDAYS) if "begins" in keys else WEEKDAYS[0],
        from_s=from_s,
        to_s=to_s,
        names=tuple(name.word() for name in names),
    )


def _generator(value: Value) -> Generator:
    keys = value.section(tuple(Generator.__dataclass_fields__))
    for needed in ("kind", "duration_s"):
        if needed not in keys:
            raise value.fail(f"has no {needed}", f"kinds are {', '.join(KINDS)}")
    kind = keys["kind"].text(f"one of {', '.join(KINDS)}")
    if kind not in KINDS:
        raise keys["kind"].fail(f"{kind} is no kind of arrivals", f"one of {', '.join(KINDS)}")
    limits = {
        "duration_s": (1.0, YEAR_S),
        "rate_per_s": (1e-9, 1e7),
        "cv": (0.0, 100.0),
        "peak": (1.0, 1e4),
        "weekend": (0.0, 10.0),
        "at_s": (0.0, YEAR_S),
        "lasts_s": (0.1, YEAR_S),
        "on_s": (0.1, YEAR_S),
        "off_s": (0.1, YEAR_S),
        "exponent": (0.0, 10.0),
    }
    numbers = {key: keys[key].number(*limits[key]) for key in limits if key in keys}
    models = keys["models"].integer(1, 100_000) if "models" in keys else 1
    return replace(fitted(kind), models=models, **numbers)  # type: ignore[arg-type]  # all of them are floats


def _capacity(value: Value) -> Capacity:
    keys = value.section(("replicas", "replica_usd_per_h", "machines"))
    if ("replicas" in keys) == ("machines" in keys):
        raise value.fail("names no capacity, or two kinds of it", "give exactly one of replicas and machines")
    if "replicas" in keys:
        price = keys["replica_usd_per_h"].number(0, 1e6) if "replica_usd_per_h" in keys else 0.0
        return Capacity(replicas=keys["replicas"].integer(1, 1_000_000), replica_usd_per_h=price)
    pools = keys["machines"].members("give a name for each machine type")
    return Capacity(machines=tuple(_pool(name, pool) for name, pool in pools.items()))


def _pool(name: str, value: Value) -> MachinePool:
    keys = value.section(MACHINE_KEYS)
    for needed in ("cpus", "memory"):
        if needed not in keys:
            raise value.fail(f"has no {needed}", f"allowed are {', '.join(MACHINE_KEYS)}")
    most = keys["max"].integer(1, 100_000) if "max" in keys else 1
    outs = keys["stock_outs"].items("give a list of [from_s, to_s]") if "stock_outs" in keys else ()
    return MachinePool(
        name=name,
        cpus=keys["cpus"].number(0.1, 4096),
        memory_bytes=keys["memory"].size_bytes(),
        device_bytes=keys["device_memory"].size_bytes() if "device_memory" in keys else 0,
        disk_bytes=keys["disk"].size_bytes() if "disk" in keys else math.inf,
        price_usd_per_h=keys["price_usd_per_h"].number(0, 1e6) if "price_usd_per_h" in keys else 0.0,
        least=keys["min"].integer(0, most) if "min" in keys else most,
        most=most,
        provision=spread_of(keys["provision_s"]) if "provision_s" in keys else A_MINUTE,
        linger_s=keys["linger_s"].number(0, YEAR_S) if "linger_s" in keys else 600.0,
        stock_outs=tuple(_stock_out(each) for each in outs),
        load_slots=keys["load_slots"].integer(1, 1024) if "load_slots" in keys else 1,
    )


def _stock_out(value: Value) -> tuple[float, float]:
    pair = [each.number(0, YEAR_S) for each in value.items("give [from_s, to_s]")]
    if len(pair) != 2 or pair[0] >= pair[1]:
        raise value.fail("is no stretch of time", "give [from_s, to_s]")
    return pair[0], pair[1]


def _dispatch(value: Value) -> Dispatch:
    ways = [each.value for each in Dispatch]
    word = value.text(f"one of {', '.join(ways)}")
    if word not in ways:
        raise value.fail(f"{word} is no way to dispatch", f"one of {', '.join(ways)}")
    return Dispatch(word)


def _warmth(value: Value) -> str:
    name = value.text(f"one of {', '.join(WARMTH)}")
    try:
        policy_of(name)
    except ValueError as error:
        raise value.fail(f"{name} is no rule about unused models", f"one of {', '.join(WARMTH)}") from error
    return name


def _metrics(value: Value) -> Metrics:
    keys = value.section(("delay_s", "noise"))
    return Metrics(
        delay_s=keys["delay_s"].number(0, 3600) if "delay_s" in keys else 0.0,
        noise=keys["noise"].number(0, 2) if "noise" in keys else 0.0,
    )
