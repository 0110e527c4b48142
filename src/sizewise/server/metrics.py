"""``/metrics``: read from the controller at the moment of the scrape; nothing is counted twice to be shown.

Seconds and bytes, ``_total`` on counters, no request ids in labels. ``sizewise_desired_replicas`` lets a stock KEDA or
HPA act. Triton's names of the same counts are given as well, for dashboards that exist.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from sizewise.controller.controller import Controller
from sizewise.controller.counters import Totals
from sizewise.controller.report import ModelStatus, Status
from sizewise.core.histogram import BOUNDS_S

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily | Metric

_CODES = {"2xx": "answered", "4xx": "client_errors", "5xx": "errors", "shed": "shed", "cancelled": "cancelled"}
"""Class of the answer. ``shed`` are 429 and 503 because of overload; ``cancelled``: the client went before it."""

_TRITON: tuple[tuple[str, str, Callable[[Totals], float]], ...] = (
    ("nv_inference_request_success", "As sizewise_requests, code 2xx", lambda t: t.answered),
    ("nv_inference_request_failure", "As sizewise_requests, code 5xx", lambda t: t.errors),
    ("nv_inference_count", "As sizewise_rows", lambda t: t.rows),
    ("nv_inference_exec_count", "Calls of the model", lambda t: t.batches),
    ("nv_inference_request_duration_us", "Answered requests: from arrival to answer", lambda t: t.answer_s * 1e6),
    ("nv_inference_queue_duration_us", "Of it, outside the model's call", lambda t: (t.answer_s - t.compute_s) * 1e6),
    ("nv_inference_compute_infer_duration_us", "Of it, in the model's call", lambda t: t.compute_s * 1e6),
)


class FleetCollector(Collector):
    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def collect(self) -> Iterator[Family]:
        status = self._controller.status()
        yield from self._requests(status)
        yield from self._triton(status)
        yield from _gauges(status)
        yield from self._live(status)
        yield from _machine(status)

    def _requests(self, status: Status) -> Iterator[Family]:
        by_version = ("model", "version")
        requests = CounterMetricFamily(
            "sizewise_requests", "Requests by class of their answer", labels=(*by_version, "code")
        )
        rows = CounterMetricFamily("sizewise_rows", "Rows computed", labels=by_version)
        shed = CounterMetricFamily("sizewise_shed", "Requests refused because of overload", labels=by_version)
        held = CounterMetricFamily("sizewise_cold_requests", "Requests that waited for a cold model", labels=by_version)
        within = CounterMetricFamily(
            "sizewise_requests_within_slo", "Requests answered within the SLO", labels=by_version
        )
        duration = HistogramMetricFamily(
            "sizewise_request_duration_seconds", "From a request's arrival to its answer", labels=by_version
        )
        for model in status.models:
            for version, totals in self._controller.counters.by_version(model.name).items():
                labels = (model.name, version)
                for code, field in _CODES.items():
                    requests.add_metric((*labels, code), getattr(totals, field))
                for family, number in (
                    (rows, totals.rows), (shed, totals.shed), (held, totals.cold_held), (within, totals.within_slo),
                ):  # fmt: skip
                    family.add_metric(labels, number)
                _add_histogram(duration, labels, totals)
        yield from (requests, rows, shed, held, within, duration)

    def _triton(self, status: Status) -> Iterator[Metric]:
        """Untyped, since Triton's names lack the ``_total`` that a counter's would get."""
        for name, text, read in _TRITON:
            metric = Metric(name, text, "unknown")
            for model in status.models:
                for version, totals in self._controller.counters.by_version(model.name).items():
                    metric.add_sample(name, {"model": model.name, "version": version}, read(totals))
            yield metric

    def _live(self, status: Status) -> Iterator[Family]:
        queued = GaugeMetricFamily("sizewise_queued_requests", "Requests waiting at the gateway", labels=("model",))
        flying = GaugeMetricFamily("sizewise_in_flight_requests", "Requests at replicas", labels=("model",))
        starts = CounterMetricFamily(
            "sizewise_cold_starts", "Loads begun while no replica of the model was up", labels=("model",)
        )
        for model in status.models:
            demand = self._controller.demand(model.name)
            queued.add_metric((model.name,), demand.queued)
            flying.add_metric((model.name,), demand.in_flight)
            starts.add_metric((model.name,), self._controller.cold_starts(model.name))
        yield from (queued, flying, starts)


def _gauges(status: Status) -> Iterator[Family]:
    by_version = ("model", "version")
    families: list[tuple[str, str, Callable[[ModelStatus], float]]] = [
        ("sizewise_desired_replicas", "Replicas that were decided", lambda m: m.replicas.desired),
        ("sizewise_ready_replicas", "Replicas that can answer now", lambda m: m.replicas.ready),
        ("sizewise_loading_replicas", "Replicas that start or load", lambda m: m.replicas.loading),
        (
            "sizewise_model_memory_bytes",
            "Private bytes of all replicas and mapped weights once",
            lambda m: m.memory_bytes,
        ),
        ("sizewise_model_warm_bytes", "Files held in memory without a replica", lambda m: m.warm_bytes),
    ]
    for name, text, read in families:
        family = GaugeMetricFamily(name, text, labels=("model",))
        for model in status.models:
            family.add_metric((model.name,), read(model))
        yield family
    load = GaugeMetricFamily("sizewise_model_load_seconds", "Start to first answer, as expected now", labels=by_version)
    weights = GaugeMetricFamily("sizewise_model_weights_bytes", "Weights of one copy", labels=by_version)
    attainment = GaugeMetricFamily(
        "sizewise_slo_attainment_ratio", "Share of the last minute's requests that met the SLO", labels=("model",)
    )
    for model in status.models:
        load.add_metric((model.name, model.version), model.load_s)
        weights.add_metric((model.name, model.version), model.weights_bytes)
        _add_if_known(attainment, model)
    yield from (load, weights, attainment)


def _machine(status: Status) -> Iterator[Family]:
    machine = status.machine
    yield GaugeMetricFamily(
        "sizewise_memory_budget_bytes", "Memory that everything may take", value=machine.memory_bytes
    )
    yield GaugeMetricFamily("sizewise_memory_used_bytes", "Memory charged now", value=machine.memory_used_bytes)
    yield GaugeMetricFamily("sizewise_disk_used_bytes", "Bytes of stored artifacts", value=machine.disk_used_bytes)
    processes = GaugeMetricFamily("sizewise_process_memory_bytes", "Private bytes by role", labels=("role",))
    by_role: dict[str, int] = {}
    for process in status.processes:
        by_role[process.role] = by_role.get(process.role, 0) + process.memory_bytes
    for role, size in sorted(by_role.items()):
        processes.add_metric((role,), size)
    yield processes


def _add_if_known(family: GaugeMetricFamily, model: ModelStatus) -> None:
    if model.slo_attainment is not None:
        family.add_metric((model.name,), model.slo_attainment)


def _add_histogram(family: HistogramMetricFamily, labels: tuple[str, str], totals: Totals) -> None:
    if not totals.latency_counts:
        return
    bounds = [*(f"{bound:.6g}" for bound in BOUNDS_S), "+Inf"]
    named = dict(zip(("model", "version"), labels, strict=True))
    for bound, count in zip(bounds, accumulate(totals.latency_counts), strict=True):
        family.samples.append(Sample(f"{family.name}_bucket", {**named, "le": bound}, count))
    family.samples.append(Sample(f"{family.name}_count", named, sum(totals.latency_counts)))
    family.samples.append(Sample(f"{family.name}_sum", named, totals.answer_s))
