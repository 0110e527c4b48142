"""Every autoscaler that can be compared with, by name, at its stock defaults."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from sizewise.core.policies.aibrix import ApaConfig, ApaState, apa_interval_s, apa_start, apa_step
from sizewise.core.policies.base import Incumbent, JointIncumbent
from sizewise.core.policies.dynamo import DynamoConfig, DynamoState, dynamo_interval_s, dynamo_start, dynamo_step
from sizewise.core.policies.ec2_predictive import (
    PredictiveConfig,
    PredictiveState,
    predictive_interval_s,
    predictive_start,
    predictive_step,
)
from sizewise.core.policies.faro import FaroConfig, FaroState, faro_interval_s, faro_start, faro_step
from sizewise.core.policies.hpa import HpaState, hpa_interval_s, hpa_start, hpa_step
from sizewise.core.policies.hpa_config import HpaConfig, HpaKind, HpaMetric
from sizewise.core.policies.keda import KedaConfig, KedaState, keda_interval_s, keda_start, keda_step
from sizewise.core.policies.kpa import kpa_interval_s, kpa_start, kpa_step
from sizewise.core.policies.kpa_config import KpaConfig, KpaState
from sizewise.core.policies.ray_serve import (
    RayServeConfig,
    RayServeState,
    ray_serve_interval_s,
    ray_serve_start,
    ray_serve_step,
)
from sizewise.core.policies.skyserve import (
    SkyServeConfig,
    SkyServeState,
    skyserve_interval_s,
    skyserve_start,
    skyserve_step,
)
from sizewise.core.policies.static import StaticConfig, static_interval_s, static_start, static_step
from sizewise.core.policies.target_tracking import (
    TrackingConfig,
    TrackingState,
    tracking_interval_s,
    tracking_start,
    tracking_step,
)
from sizewise.core.policies.wva import WvaConfig, WvaState, wva_interval_s, wva_start, wva_step

STATIC: Incumbent[StaticConfig, None] = Incumbent(
    name="static",
    summary="a fixed number of replicas",
    config=StaticConfig(),
    start=static_start,
    step=static_step,
    interval_s=static_interval_s,
)


def _hpa(name: str, summary: str, metric: HpaMetric) -> Incumbent[HpaConfig, HpaState]:
    return Incumbent(
        name=name,
        summary=summary,
        config=HpaConfig(metrics=(metric,)),
        start=hpa_start,
        step=hpa_step,
        interval_s=hpa_interval_s,
    )


HPA_CPU = _hpa("hpa", "Kubernetes HPA v2 on CPU at 80 %", HpaMetric())
HPA_CONCURRENCY = _hpa(
    "hpa_concurrency",
    "Kubernetes HPA v2 on the mean requests in flight of each replica",
    HpaMetric(kind=HpaKind.REPLICA_AVERAGE, target=2.0),
)
HPA_EXTERNAL = _hpa(
    "hpa_external",
    "Kubernetes HPA v2 on all requests in flight, as an external average",
    HpaMetric(kind=HpaKind.EXTERNAL_AVERAGE, target=2.0),
)
KPA: Incumbent[KpaConfig, KpaState] = Incumbent(
    name="kpa",
    summary="Knative: concurrency over 60 s, panic over 6 s, to zero",
    config=KpaConfig(),
    start=kpa_start,
    step=kpa_step,
    interval_s=kpa_interval_s,
    wakes=True,
    parks=True,
)
KEDA: Incumbent[KedaConfig, KedaState] = Incumbent(
    name="keda",
    summary="KEDA: none or some every 30 s, an HPA on an external average beyond",
    config=KedaConfig(),
    start=keda_start,
    step=keda_step,
    interval_s=keda_interval_s,
)
KEDA_CRON = replace(
    KEDA, name="keda_cron", summary="KEDA with cron triggers beside, from the hourly peaks of the week or day before"
)
RAY_SERVE: Incumbent[RayServeConfig, RayServeState] = Incumbent(
    name="ray_serve",
    summary="Ray Serve: requests in flight over 30 s, up after 30 s, down after 600 s",
    config=RayServeConfig(),
    start=ray_serve_start,
    step=ray_serve_step,
    interval_s=ray_serve_interval_s,
    wakes=True,
    parks=True,
)
SKYSERVE: Incumbent[SkyServeConfig, SkyServeState] = Incumbent(
    name="skyserve",
    summary="SkyServe: request rate over 60 s, up after 300 s, down after 1200 s",
    config=SkyServeConfig(),
    start=skyserve_start,
    step=skyserve_step,
    interval_s=skyserve_interval_s,
)
SAGEMAKER: Incumbent[TrackingConfig, TrackingState] = Incumbent(
    name="sagemaker",
    summary="SageMaker target tracking: 3 of 3 minutes up, 15 of 15 down",
    config=TrackingConfig(),
    start=tracking_start,
    step=tracking_step,
    interval_s=tracking_interval_s,
)
EC2_PREDICTIVE: Incumbent[PredictiveConfig, PredictiveState] = Incumbent(
    name="ec2_predictive",
    summary="EC2: hourly forecast as a floor, target tracking beyond",
    config=PredictiveConfig(),
    start=predictive_start,
    step=predictive_step,
    interval_s=predictive_interval_s,
)
AIBRIX_APA: Incumbent[ApaConfig, ApaState] = Incumbent(
    name="aibrix_apa",
    summary="AIBrix APA: present number times metric over target, at most doubled every 10 s",
    config=ApaConfig(),
    start=apa_start,
    step=apa_step,
    interval_s=apa_interval_s,
)
DYNAMO: Incumbent[DynamoConfig, DynamoState] = Incumbent(
    name="dynamo",
    summary="Dynamo planner: forecast every 180 s as a floor, one replica by load every 5 s",
    config=DynamoConfig(),
    start=dynamo_start,
    step=dynamo_step,
    interval_s=dynamo_interval_s,
)
WVA: Incumbent[WvaConfig, WvaState] = Incumbent(
    name="wva",
    summary="llm-d variant autoscaler V2: demand against capacity that is there or coming",
    config=WvaConfig(),
    start=wva_start,
    step=wva_step,
    interval_s=wva_interval_s,
    wakes=True,
    parks=True,
)

FARO: JointIncumbent[FaroConfig, FaroState] = JointIncumbent(
    name="faro",
    summary="Faro-like: utility of all models under a cap every 300 s, one more for the late in between",
    config=FaroConfig(),
    start=faro_start,
    step=faro_step,
    interval_s=faro_interval_s,
)

# Configurations and states differ from one to the next; what goes in comes from the same entry, so Any is safe
ALL: tuple[Incumbent[Any, Any], ...] = (
    STATIC,
    HPA_CPU,
    HPA_CONCURRENCY,
    HPA_EXTERNAL,
    KPA,
    KEDA,
    KEDA_CRON,
    RAY_SERVE,
    SKYSERVE,
    SAGEMAKER,
    EC2_PREDICTIVE,
    AIBRIX_APA,
    DYNAMO,
    WVA,
)

POLICIES: Mapping[str, Incumbent[Any, Any]] = MappingProxyType({policy.name: policy for policy in ALL})
"""By name. Targets that a system leaves to its user are stand-ins: calibrate them from the model's profile."""

JOINT_POLICIES: Mapping[str, JointIncumbent[Any, Any]] = MappingProxyType({FARO.name: FARO})
"""Those that decide for all models of a cluster at once."""
