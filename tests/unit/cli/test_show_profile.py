"""The table of several models: no figure of it is ever cut."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from sizewise.cli.show_profile import COLUMNS, FEW, profiles_view
from sizewise.core.profiles import BatchPoint, LatencyCurve, LoadTime, Memory, ModelFacts, ModelProfile, Source
from sizewise.core.units import GIB, MIB
from sizewise.profiling.report import Report, Sustained

FACTS = ModelFacts(format="safetensors", platform="p", runtime="torch", disk_bytes=1023 * MIB, parameters=1_234_567_890)
PROFILE = ModelProfile(
    facts=FACTS,
    load=LoadTime(fetch_s=0, load_s=12.3, warmup_s=0),
    load_cold=LoadTime(fetch_s=0, load_s=45.6, warmup_s=0),
    memory=Memory(base_bytes=0, resident_bytes=2 * GIB, mapped_bytes=789 * MIB, per_request_bytes=0),
    curve=LatencyCurve((BatchPoint(batch=1, p50_s=0.0123, p95_s=0.02, samples=9),)),
    source=Source.MEASURED,
)
HEAVY = Report(
    path="models/a-model-with-quite-a-long-name.safetensors", hash="h", estimate=PROFILE, measured=PROFILE,
    reused=False, slo=None, figures=(), line=None, sustained=Sustained(batch=128, per_s=12_345),
)  # fmt: skip
REPORTS = [HEAVY, replace(HEAVY, measured=None, sustained=Sustained(batch=1, per_s=60_000))]


def rendered(reports: list[Report], width: int) -> list[str]:
    screen = Console(width=width, file=io.StringIO())
    with screen.capture() as captured:
        screen.print(profiles_view(reports, width=width))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 250])
def test_figures_are_whole_at_every_width(width: int) -> None:
    lines = rendered(REPORTS, width)
    assert len(lines) == 3
    assert max(len(line.rstrip()) for line in lines) <= width
    assert lines[0].split() == " ".join(COLUMNS if width == 250 else FEW).split()
    for line in lines[1:]:
        assert "…" not in line.partition(" MiB")[2]
        for text in ("1023 MiB", "2.0 GiB", "789 MiB", "12.3 s", "12.3 ms"):
            assert text in line
    assert lines[1].rstrip().endswith(" 12,345")
    assert lines[2].rstrip().endswith(" >50,000")
    assert "(estimated)" in lines[2]


@pytest.mark.parametrize(("width", "columns"), [(80, FEW), (99, FEW), (120, COLUMNS)])
def test_every_column_shows_where_it_fits(width: int, columns: tuple[str, ...]) -> None:
    facts = replace(FACTS, format="onnx", parameters=1_234)
    short = replace(HEAVY, path="m.onnx", measured=replace(PROFILE, facts=facts))
    assert rendered([short], width)[0].split() == " ".join(columns).split()
