"""What ``bench`` prints, and how its options are read."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from sizewise.cli.bench import _shares
from sizewise.cli.show_bench import bench_json, bench_view, plot
from sizewise.core.slo import Slo
from sizewise.loadgen.bench import BenchOptions, BenchReport, Level, checked
from sizewise.loadgen.tally import Tally, window_of
from sizewise.protocols.errors import UsageError


def report(*, cpu_share: float = 0.2) -> BenchReport:
    tally = Tally(from_s=0, until_s=10, slo_s=0.02)
    for i in range(100):
        tally.submitted(i / 10)
        tally.came(i / 10, i / 10)
        tally.answered(200 if i else 429, due_s=i / 10, sent_s=i / 10, now_s=i / 10 + (0.001 if i < 90 else 0.03))
    window = window_of(tally, offered_per_s=10.0, connections=3, cpu_share=cpu_share)
    level = Level(name="10/s", share=None, window=window)
    return BenchReport(url="http://h/x", slo=Slo(0.95, 0.02), body_bytes=64, first_answer_s=0.1, levels=(level,))


@pytest.mark.parametrize("width", [80, 140])
def test_figures_are_never_cut(width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(bench_view(report(), width=width))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for said in ("OFFERED/S", "OWN CPU", "89.00%", "when due", "30.0 ms", "errors at 10/s: 1 x 429"):
        assert said in text
    assert ("CONNECTIONS" in text) == (width == 140)


def test_json_has_the_verdict() -> None:
    assert bench_json(report())["bottleneck"] is None
    found = bench_json(report(cpu_share=0.95))
    assert found["bottleneck"] == "10/s: it used 95% of a core"
    assert sum(count for _, count in found["levels"][0]["window"]["latency"]["histogram"]) == 99


def test_the_longest_bar_is_the_commonest_latency() -> None:
    bars = [line.count("#") for line in plot(report().levels[0].window.latency, width=60).splitlines()]
    assert bars[0] == max(bars) == 36
    assert 0 in bars, "a gap in the latencies is a gap in the plot"
    assert bars[-1] > 0


def test_levels_are_shares() -> None:
    assert _shares("50, 70,90") == (0.5, 0.7, 0.9)
    assert _shares(None) == ()
    for text in ("", "50;70", "0", "-5", "nan", "2000"):
        with pytest.raises(UsageError):
            _shares(text)


def test_without_a_rate_it_is_levels() -> None:
    assert checked(BenchOptions()).levels == (0.5, 0.7, 0.9)
    assert checked(BenchOptions(connections=5)).levels == ()
    assert checked(BenchOptions(rate_per_s=5)).levels == ()
    with pytest.raises(UsageError, match="cannot be combined"):
        checked(BenchOptions(rate_per_s=5, levels=(0.5,)))
    shape = checked(BenchOptions(rate_per_s=5, trace=Path("day.csv")))
    assert (shape.levels, shape.rate_per_s) == ((), 5)
