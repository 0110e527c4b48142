import pytest

from sizewise.core.fleet import Isolation
from sizewise.core.inline import INLINE_S, runs_inline, why_not_inline
from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, Memory, ModelFacts, ModelProfile, Source


def profile(call_s: float, source: Source = Source.MEASURED) -> ModelProfile:
    return ModelProfile(
        facts=ModelFacts(format="onnx", platform="onnx", runtime="onnx", disk_bytes=1),
        load=LoadTime(),
        memory=Memory(),
        curve=LatencyCurve((BatchPoint(batch=1, p50_s=call_s, p95_s=call_s),)),
        source=source,
    )


@pytest.mark.parametrize(
    ("runtime", "found", "why"),
    [
        pytest.param("onnx", profile(5e-6), None, id="quick data"),
        pytest.param("lightgbm", profile(0.99 * INLINE_S), None, id="just below"),
        pytest.param("onnx", profile(INLINE_S), "takes 100 us", id="not below"),
        pytest.param("python", profile(5e-6), "python models never", id="code"),
        pytest.param("torch", profile(5e-6), "torch models never", id="programs"),
        pytest.param(None, profile(5e-6), "its models never", id="nobody can run it"),
        pytest.param("onnx", profile(5e-6, Source.ESTIMATED), "not been measured", id="estimated"),
    ],
)
def test_why_not(runtime: str | None, found: ModelProfile, why: str | None) -> None:
    said = why_not_inline(runtime, found)
    assert (said is None) == (why is None)
    assert why is None or why in (said or "")


@pytest.mark.parametrize("isolation", list(Isolation))
def test_only_where_the_owner_says_so(isolation: Isolation) -> None:
    assert runs_inline(isolation, "onnx", profile(5e-6)) == (isolation is Isolation.INLINE)
