"""The page of ``bench -o html``: whole, self-contained, and with the figures of the report."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from sizewise.cli.bench_page import bench_page
from sizewise.cli.charts import Axis, Line, chart, linear_axis, log_axis
from tests.unit.cli.test_show_bench import report

NOW = "22 November 2026, 12:00 UTC"


class Page(HTMLParser):
    """Texts, and what a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data"}]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_the_page_is_whole_and_fetches_nothing() -> None:
    text = bench_page(report(), now=NOW)
    page = Page(text)
    assert not page.open
    assert not page.fetched
    assert "script" not in page.tags
    assert "url(" not in text
    assert "@import" not in text
    assert page.tags.count("svg") == 3
    assert {"89.00%", "30.0 ms", "errors at 10/s: 1 x 429", "p99"} <= set(page.texts)
    assert "The load generator kept up: these figures are the server's." in page.texts


def test_the_verdict_is_on_the_page() -> None:
    text = bench_page(report(cpu_share=0.95), now=NOW)
    assert "The load generator was the limit, not the server (10/s: it used 95% of a core)" in text


def test_what_servers_and_people_name_is_text() -> None:
    text = bench_page(replace(report(), url="http://h/<script>alert(1)</script>"), now=NOW)
    assert "script" not in Page(text).tags


def test_a_run_without_answers_has_a_page() -> None:
    whole = report()
    none = replace(whole.levels[0].window.latency, histogram=(), max_s=None, p50_s=None)
    moments = tuple(replace(m, p50_s=None, p99_s=None, answered_per_s=0.0) for m in whole.levels[0].window.moments)
    window = replace(whole.levels[0].window, latency=none, moments=moments)
    page = Page(bench_page(replace(whole, levels=(replace(whole.levels[0], window=window),)), now=NOW))
    assert page.tags.count("svg") == 1


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        pytest.param(linear_axis(12_000, str), (0, 5000, 10_000, 15_000), id="linear"),
        pytest.param(linear_axis(0, str), (0, 0.2, 0.4, 0.6, 0.8, 1), id="nothing"),
        pytest.param(log_axis([0.002, 0.9], str), (0.001, 0.01, 0.1, 1), id="log"),
        pytest.param(log_axis([0.01], str), (0.01, 0.1), id="one value"),
        pytest.param(log_axis([], str), (1, 10), id="no value"),
    ],
)
def test_axes_have_round_numbers(axis: Axis, ticks: tuple[float, ...]) -> None:
    assert axis.ticks == pytest.approx(ticks)
    assert (axis.share(axis.low), axis.share(axis.high)) == (0, 1)
    assert axis.share(axis.high * 10) == 1


def test_a_line_is_broken_where_nothing_is_known() -> None:
    axis = linear_axis(10, str)
    drawn = chart(axis, axis, [Line(points=[(0, 1), (1, 2), (2, None), (3, 4)], color="#123456")])
    assert drawn.count("<polyline") == 1
    assert drawn.count("<circle") == 1
