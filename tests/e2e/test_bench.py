"""``sizewise bench`` against servers that behave in known ways, and against a model of a real system."""

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sizewise as public
from sizewise.demo.onnx_files import write_random_mlp
from tests.e2e import certificates
from tests.e2e.up import sizewise, up

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it"
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"

Answer = Callable[[int], tuple[float, bytes, bool]]
"""For the n-th request: seconds to wait, bytes to answer, whether to close then."""


@contextlib.contextmanager
def server(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server in a thread of its own; requests without a body only."""
    loop, ready, count = asyncio.new_event_loop(), threading.Event(), iter(range(10**9))
    found: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            closes = False
            while not closes and await reader.readuntil(b"\r\n\r\n"):
                wait_s, content, closes = answer(next(count))
                await asyncio.sleep(wait_s)
                writer.write(content)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the caller has gone, or the test is over
        finally:
            writer.close()

    async def serve() -> None:
        listening = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
        found.append(listening.sockets[0].getsockname()[1])
        ready.set()
        await stopped.wait()
        listening.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the next turn

    stopped = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{found[0]}/"
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join()
        loop.close()


def bench(*args: str | Path, cwd: Path | None = None) -> dict[str, Any]:
    """The report as JSON. On a busy machine the generator may say that it was the limit: then it must exit with 1."""
    done = sizewise("bench", *args, "--warmup-s", "0.2", "-o", "json", cwd=cwd)
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (report["bottleneck"] is not None), done.stderr
    assert ("the load generator was the limit" in done.stderr) == (done.returncode == 1)
    return report


def window(report: dict[str, Any], index: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = report["levels"][index]["window"]
    return found


def sent_as_due(report: dict[str, Any], due: int) -> None:
    """All of them and no more, unless the generator says that this machine was too busy for it."""
    sent = window(report)["sent"]
    assert sent <= due + 1
    assert sent >= due - 1 or report["bottleneck"] is not None


def test_a_stall_is_charged_to_all_who_would_have_come_meanwhile() -> None:
    """One connection, 100 requests a second, one of them takes half a second: closed loops would count it once."""
    with server(lambda n: (0.5 if n == 60 else 0.0, OK, False)) as url:
        report = bench(url, "--rate", "100", "--uniform", "--connections", "1", "--seconds", "1")
    seen = window(report)
    assert seen["kind"] == "open"
    sent_as_due(report, 100)
    assert seen["statuses"] == {"200": seen["sent"]}
    assert seen["service"]["p95_s"] < 0.25, "as each was sent, one was slow"
    assert seen["latency"]["p95_s"] > 0.25, "as each was due, half were late"
    assert seen["latency"]["max_s"] >= 0.45


@pytest.mark.parametrize(
    "answer", [(OK, False), (CHUNKED, False), (UNTIL_CLOSED, True)], ids=["length", "chunks", "end"]
)
def test_a_closed_loop_takes_every_kind_of_answer(answer: tuple[bytes, bool]) -> None:
    with server(lambda n: (0.005, *answer)) as url:
        seen = window(bench(url, "--connections", "4", "--seconds", "0.5"))
    assert (seen["kind"], seen["failures"], set(seen["statuses"])) == ("closed", {}, {"200"})
    assert seen["connections"] <= 4
    assert 4 <= seen["sent"] <= 4 * 0.5 / 0.005 + 4
    assert seen["latency"]["p50_s"] >= 0.005


def test_https_asks_for_a_certificate_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, tls = certificates.write(tmp_path), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files.cert, files.key)
    with server(lambda n: (0.0, OK, False), tls) as url:
        refused = sizewise("bench", url, "--rate", "50", "--seconds", "0.5")
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert "certificate verify failed" in refused.stderr
        monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
        seen = window(bench(url, "--rate", "50", "--seconds", "0.5"))
    assert seen["statuses"] == {"200": seen["sent"]}


def test_errors_are_counted_by_status_and_reason() -> None:
    kinds = [(0.0, OK, False), (0.0, BUSY, False), (0.0, CUT, True), (5.0, OK, False), (0.0, b"nonsense\r\n\r\n", True)]
    with server(lambda n: kinds[n % 5]) as url:
        report = bench(url, "--rate", "100", "--seconds", "0.5", "--timeout-s", "0.5", "--slo-p95-ms", "400")
    seen = window(report)
    assert set(seen["statuses"]) == {"200", "429"}
    assert set(seen["failures"]) == {"closed by the server", "no answer in time", "answer is not HTTP"}
    assert sum(seen["statuses"].values()) + sum(seen["failures"].values()) == seen["sent"]
    assert 0 < seen["attainment"] < 0.5
    assert report["slo"] == {"quantile": 0.95, "latency_s": 0.4}


def test_levels_follow_the_peak(tmp_path: Path) -> None:
    with server(lambda n: (0.01, OK, False)) as url:
        report = bench(url, "--levels", "25,50", "--connections", "2", "--seconds", "0.6")
    assert [level["name"] for level in report["levels"]] == ["peak", "25% of peak", "50% of peak"]
    peak = window(report)["answered_per_s"]
    assert peak <= 200
    assert window(report, 1)["offered_per_s"] == pytest.approx(peak / 4)
    assert window(report, 2)["offered_per_s"] == pytest.approx(peak / 2)


def test_a_trace_shapes_the_rate(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("time_s,rate_per_s\n0,40\n0.5,0\n1,80\n1.5,0\n")
    with server(lambda n: (0.0, OK, False)) as url:
        report = bench(url, "--trace", "trace.csv", "--uniform", cwd=tmp_path)
    seen = window(report)
    assert seen["seconds"] == 1.5
    assert seen["offered_per_s"] == pytest.approx(40)
    sent_as_due(report, 60)


def test_a_trace_with_a_rate_is_a_shape_and_the_page_shows_it(tmp_path: Path) -> None:
    (tmp_path / "day.rate.csv").write_text("timestamp_s,model,requests\n0,a,10\n60,a,30\n60,b,0\n120,b,20\n")
    with server(lambda n: (0.0, OK, False)) as url:
        load = ("--trace", "day.rate.csv", "--rate", "100", "--seconds", "1.5", "--uniform", "--warmup-s", "0")
        done = sizewise("bench", url, *load, "-o", "html", cwd=tmp_path)
    assert done.returncode == ("The load generator was the limit" in done.stdout), done.stderr
    assert done.stdout.startswith("<!doctype html>")
    assert f"<h1>{url}</h1>" in done.stdout
    assert "<td>trace</td><td>100</td>" in done.stdout


def test_more_than_the_generator_can_do_is_said() -> None:
    with server(lambda n: (0.0, OK, False)) as url:
        done = sizewise("bench", url, "--rate", "1000000", "--seconds", "0.5", "--warmup-s", "0", "--timeout-s", "0.5")
    assert done.returncode == 1
    assert "the load generator was the limit, not the server" in done.stderr
    assert "ANSWERED/S" in done.stdout


@pytest.mark.parametrize(
    ("answer", "words", "code", "said"),
    [
        pytest.param(
            OK, ("--rate", "5", "--levels", "50"), 2, "--rate and --levels cannot be combined", id="two rates"
        ),
        pytest.param(OK, ("--levels", "50,x"), 2, "write 50,70,90", id="levels"),
        pytest.param(OK, ("--trace", "gone.csv"), 2, "gone.csv: No such file", id="trace"),
        pytest.param(BUSY, ("--rate", "5"), 1, "answered 429: nothing else", id="refused at once"),
    ],
)
def test_what_cannot_be_run_is_one_line(answer: bytes, words: tuple[str, ...], code: int, said: str) -> None:
    with server(lambda n: (0.0, answer, False)) as url:
        done = sizewise("bench", url, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert said in done.stderr


def test_a_model_is_asked_with_what_it_takes(tmp_path: Path) -> None:
    write_random_mlp(tmp_path / "small.onnx", (8, 4), seed=7)
    with up("models: {small: {uri: small.onnx, slo: {p95_ms: 5000}}}", tmp_path) as system:
        here = ("--state-dir", system.state_dir)
        report = bench("small", "--rate", "200", "--seconds", "1", *here)
        assert set(window(report)["statuses"]) == {"200"}
        assert window(report)["attainment"] > 0.5
        assert report["url"].endswith("/v2/models/small/infer")
        assert report["slo"] == {"quantile": 0.95, "latency_s": 5.0}
        binary = bench("small", "--connections", "2", "--seconds", "0.5", "--binary", "--rows", "3", *here)
        assert set(window(binary)["statuses"]) == {"200"}

        options = public.BenchOptions(rate_per_s=50, seconds=0.5, warmup_s=0)
        direct = public.bench("small", options, state_dir=system.state_dir)
        assert direct.levels[0].window.errors == 0
        missing = sizewise("bench", "gone", *here)
        assert missing.returncode == 1
        assert "'gone' not found" in missing.stderr
