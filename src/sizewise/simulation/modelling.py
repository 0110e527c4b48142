"""One model of a scenario: from a profile file, the catalogue, or figures written in place."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sizewise.controller.spec import DAY_S, SLO_QUANTILES
from sizewise.controller.yaml_values import Value
from sizewise.core.fleet import ScalingPolicy
from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, Memory, ModelFacts, ModelProfile, Source
from sizewise.core.slo import Slo
from sizewise.protocols.serde import from_jsonable
from sizewise.simulation.catalog import CATALOG
from sizewise.simulation.scenario import MANY_REPLICAS, Loading, SimModel
from sizewise.simulation.spread import SHAPES, Shape, Spread, constant, lognormal

_Z95 = 1.6448536269514722
MODEL_KEYS = (
    *(
        "profile",
        "catalog",
        "service_ms",
        "batch",
        "cv",
        "shape",
        "load_s",
        "load",
        "memory",
        "device_memory",
        "threads",
    ),
    *("slo", "queue", "timeout_s", "hold_s", "scaling"),
)
STAGES = ("image_s", "start_s", "fetch_s", "load_s", "warmup_s")


def model_of(value: Value, base: Path) -> SimModel:
    keys = value.section(MODEL_KEYS)
    given = [key for key in ("profile", "catalog", "service_ms", "batch") if key in keys]
    if not given or ("profile" in given and len(given) > 1):
        raise value.fail("says not what it weighs", "give profile (a file), catalog (a name), or service_ms and load_s")
    model = _weighed(keys, base)
    loading = _loading(keys, model.loading)
    memory = keys["memory"].size_bytes() if "memory" in keys else model.profile.memory.replica_bytes
    profile = replace(
        model.profile,
        load=_expected(loading),
        memory=Memory(
            resident_bytes=memory,
            peak_bytes=memory,
            mapped_bytes=model.profile.memory.mapped_bytes,
            device_bytes=keys["device_memory"].size_bytes() if "device_memory" in keys else 0,
        ),
        threads=keys["threads"].integer(1, 1024) if "threads" in keys else model.profile.threads,
    )
    return replace(
        model,
        profile=profile,
        loading=loading,
        slo=_slo(keys["slo"]) if "slo" in keys else None,
        scaling=_scaling(keys["scaling"]) if "scaling" in keys else model.scaling,
        max_queue=keys["queue"].integer(0, 1_000_000) if "queue" in keys else model.max_queue,
        timeout_s=keys["timeout_s"].number(0.001, DAY_S) if "timeout_s" in keys else model.timeout_s,
        hold_s=keys["hold_s"].number(0, DAY_S) if "hold_s" in keys else model.hold_s,
    )


def _weighed(keys: Mapping[str, Value], base: Path) -> SimModel:
    if "profile" in keys:
        return from_profile(_read_profile(keys["profile"], base))
    entry = None
    if "catalog" in keys:
        name = keys["catalog"].text("give a name")
        entry = CATALOG.get(name)
        if entry is None:
            raise keys["catalog"].fail(f"{name} is not in the catalogue", f"known are {', '.join(CATALOG)}")
    shape = _shape(keys["shape"]) if "shape" in keys else "lognormal"
    cv = keys["cv"].number(0, 10) if "cv" in keys else entry.cv if entry else 0.0
    means = _means(keys) or ((1, entry.service_s if entry else 0.0),)
    made = inline(means, cv=cv, shape=shape, memory_bytes=entry.reserved_bytes if entry else 1 << 30)
    if entry is None:
        return made
    return replace(made, loading=entry.loading)


def inline(means_s: tuple[tuple[int, float], ...], *, cv: float, shape: Shape, memory_bytes: int) -> SimModel:
    """From mean seconds by batch size and their variation."""
    points = tuple(_point(batch, mean_s, cv=cv, shape=shape) for batch, mean_s in means_s)
    batchable = len(points) > 1
    facts = ModelFacts(
        format="simulated", platform="simulated", runtime="simulated", disk_bytes=memory_bytes, batchable=batchable
    )
    profile = ModelProfile(
        facts=facts,
        load=LoadTime(),
        memory=Memory(resident_bytes=memory_bytes, peak_bytes=memory_bytes),
        curve=LatencyCurve(points),
        source=Source.MEASURED,
    )
    return SimModel(profile=profile, loading=Loading(), shape=shape, cv=cv, batchable=batchable)


def from_profile(profile: ModelProfile) -> SimModel:
    """Its spread is that of the smallest batch; loads take what was measured."""
    first = profile.curve.points[0]
    sigma = math.log(max(first.p95_s, first.p50_s) / first.p50_s) / _Z95
    load = profile.load
    loading = Loading(
        start=constant(load.start_s),
        fetch=constant(load.fetch_s),
        load=constant(load.load_s),
        warmup=constant(load.warmup_s),
    )
    cv = math.sqrt(math.expm1(sigma * sigma))
    return SimModel(profile=profile, loading=loading, cv=cv, batchable=profile.facts.batchable)


def mean_over_median(shape: Shape, cv: float) -> float:
    """What a median is to be multiplied with to have the mean."""
    if shape == "exponential":
        return 1.0 / math.log(2.0)
    return math.sqrt(1.0 + cv * cv) if shape == "lognormal" else 1.0


def _point(batch: int, mean_s: float, *, cv: float, shape: Shape) -> BatchPoint:
    median_s = mean_s / mean_over_median(shape, cv)
    if shape == "exponential":
        p95_s = -mean_s * math.log(0.05)
    else:
        p95_s = median_s * math.exp(_Z95 * math.sqrt(math.log1p(cv * cv))) if shape == "lognormal" else median_s
    return BatchPoint(batch=batch, p50_s=median_s, p95_s=p95_s)


def _means(keys: Mapping[str, Value]) -> tuple[tuple[int, float], ...]:
    if "batch" not in keys:
        return ((1, keys["service_ms"].number(1e-3, 1e7) / 1000),) if "service_ms" in keys else ()
    found = {}
    hint = "give milliseconds by batch size, such as {1: 20, 8: 60}"
    for word, value in keys["batch"].members(hint).items():
        if not word.isdigit() or not 1 <= int(word) <= 4096:
            raise value.fail_key("is no batch size", "give whole numbers from 1 to 4096")
        found[int(word)] = value.number(1e-3, 1e7) / 1000
    if "service_ms" in keys:
        found[1] = keys["service_ms"].number(1e-3, 1e7) / 1000
    if 1 not in found:
        raise keys["batch"].fail("does not say what one request takes", hint)
    return tuple(sorted(found.items()))


def _loading(keys: Mapping[str, Value], default: Loading) -> Loading:
    if "load" in keys:
        stages = {name: spread_of(value) for name, value in keys["load"].section(STAGES).items()}
        named = {name.removesuffix("_s"): spread for name, spread in stages.items()}
        return Loading(**named)
    return Loading(load=spread_of(keys["load_s"])) if "load_s" in keys else default


def _expected(loading: Loading) -> LoadTime:
    return LoadTime(
        start_s=loading.image.median_s + loading.start.median_s,
        fetch_s=loading.fetch.median_s,
        load_s=loading.load.median_s,
        warmup_s=loading.warmup.median_s,
    )


def spread_of(value: Value) -> Spread:
    """A number, ``{p50: 20, p99: 60}``, or ``{quantiles: {0.1: 3, 0.5: 20, 0.9: 40}}``."""
    if value.is_mapping:
        keys = value.section(("p50", "p99", "quantiles"))
        if "quantiles" in keys:
            return _quantiles(keys["quantiles"])
        if "p50" not in keys:
            raise value.fail("has no p50", "give a number, {p50: 20, p99: 60} or {quantiles: {0.5: 20, 0.9: 40}}")
        p50_s = keys["p50"].number(1e-6, DAY_S)
        return lognormal(p50_s, keys["p99"].number(p50_s, DAY_S)) if "p99" in keys else constant(p50_s)
    return constant(value.number(0, DAY_S))


def _quantiles(value: Value) -> Spread:
    points = []
    for word, seconds in value.members("give seconds by share, such as {0.5: 20, 0.9: 40}").items():
        try:
            share = float(word)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise seconds.fail_key("is no share", "give shares from 0 to 1")
        points.append((share, seconds.number(0, DAY_S)))
    points.sort()
    if not points or [p[1] for p in points] != sorted(p[1] for p in points):
        raise value.fail("does not rise", "a larger share of all loads takes at least as long")
    return Spread(tuple(points))


def _shape(value: Value) -> Shape:
    word = value.text(f"one of {', '.join(SHAPES)}")
    for shape in SHAPES:
        if shape == word:
            return shape
    raise value.fail(f"{word} is no distribution", f"one of {', '.join(SHAPES)}")


def _slo(value: Value) -> Slo:
    keys = value.section(tuple(SLO_QUANTILES))
    if len(keys) != 1:
        raise value.fail(f"has {len(keys)} goals", f"give exactly one of {', '.join(SLO_QUANTILES)}")
    ((key, goal),) = keys.items()
    return Slo(quantile=SLO_QUANTILES[key], latency_s=goal.number(0.1, DAY_S * 1000) / 1000)


def _scaling(value: Value) -> ScalingPolicy:
    keys = value.section(("min_replicas", "max_replicas", "priority"))
    low = keys["min_replicas"].integer(0, MANY_REPLICAS) if "min_replicas" in keys else 0
    high = keys["max_replicas"].integer(1, MANY_REPLICAS) if "max_replicas" in keys else MANY_REPLICAS
    if low > high:
        raise keys["min_replicas"].fail(f"{low} is above max_replicas", f"give a whole number from 0 to {high}")
    return ScalingPolicy(
        min_replicas=low,
        max_replicas=high,
        priority=keys["priority"].integer(-1000, 1000) if "priority" in keys else 0,
    )


def _read_profile(value: Value, base: Path) -> ModelProfile:
    import orjson

    text = value.text("give the path of a profile that sizewise profile kept")
    path = base / text
    try:
        stored = orjson.loads(path.read_bytes())
        return from_jsonable(ModelProfile, stored.get("profile", stored) if isinstance(stored, dict) else stored)
    except OSError as error:
        raise value.fail(f"{text}: {error.strerror or error}", f"relative paths start from {base}") from error
    except ValueError as error:
        problem = str(error).splitlines()[0]
        advice = "give a file of the folder profiles, as sizewise profile keeps it"
        raise value.fail(f"{text} is no profile: {problem}", advice) from error
