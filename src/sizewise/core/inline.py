"""Which models may be computed inside the gateway's own process, where their owner allows it."""

from sizewise.core.fleet import Isolation
from sizewise.core.profiles import ModelProfile, Source

INLINE_S = 100e-6
"""While a model computes in the gateway nobody else is served there: no longer than this for one call."""
DATA_RUNTIMES = frozenset({"onnx", "xgboost", "lightgbm", "sklearn"})
"""Their files are data and were read by rules of ours; code, or what brings code along, never runs there."""


def why_not_inline(runtime: str | None, profile: ModelProfile) -> str | None:
    """What speaks against it, in a few words; None when nothing does."""
    if runtime not in DATA_RUNTIMES:
        return f"{runtime or 'its'} models never run in the gateway"
    if profile.source is Source.ESTIMATED:
        return "its call has not been measured"
    call_s = profile.curve.p50_s(1)
    if call_s >= INLINE_S:
        return f"its call takes {call_s * 1e6:.0f} us, and {INLINE_S * 1e6:.0f} is the most"
    return None


def runs_inline(isolation: Isolation, runtime: str | None, profile: ModelProfile) -> bool:
    return isolation is Isolation.INLINE and why_not_inline(runtime, profile) is None
