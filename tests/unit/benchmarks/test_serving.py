"""What the serving benchmark says about what it saw: medians, ratios, order, and what counts as a right answer."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from benchmarks.serving.bodies import difference, forms_of
from benchmarks.serving.measure import Plan, turns_of
from benchmarks.serving.plot import svg
from benchmarks.serving.registry import PEERS
from benchmarks.serving.summary import AIMS, Aim, cells_of, reached
from benchmarks.serving.table import markdown, number, ranked


def windows(*per_s: float, p99_ms: float = 2.0, errors: int = 0) -> list[dict[str, float]]:
    return [
        {"requests_per_s": n, "p50_ms": 1.0, "p99_ms": p99_ms, "requests_per_core_s": n / 2, "errors": errors}
        for n in per_s
    ]


def record(rows: dict[tuple[str, str, int], list[dict[str, float]]]) -> dict[str, Any]:
    names = dict.fromkeys(peer for _, peer, _ in rows)
    about = {"processes": "2 workers", "good_for": "", "versions": {"python": "3.11"}, "failed": {}}
    return {
        "date": "2026-11-22",
        "seconds": 3,
        "repeats": 3,
        "note": "A quiet machine.",
        "wrk": "wrk 4",
        "machine": {"cpus": 2, "cpu": "a <processor>", "memory_bytes": 8 * 2**30},
        "bodies": {"small": "a row", "medium": "more"},
        "peers": {
            name: {**about, "bound": PEERS[name].bound, "starts_s": [1.0, 3.0, 2.0], "memory_mib": [10.0]}
            for name in names
        },
        "rows": [
            {"body": body, "peer": peer, "connections": count, "windows": found}
            for (body, peer, count), found in rows.items()
        ],
    }


SEEN = record(
    {
        ("small", "fastapi-lean", 64): windows(100, 140, 120, p99_ms=8),
        ("small", "sizewise", 1): windows(50, 50, 50),
        ("small", "sizewise", 64): windows(500, 480, 900, errors=1),
        ("small", "inline", 64): windows(1000, 1000, 1000),
        ("medium", "sizewise", 64): windows(10, 10, 10),
    }
)


def test_a_figure_is_the_median_with_its_spread() -> None:
    cell = cells_of(SEEN)["small", "sizewise", 64]
    seen = cell.requests_per_s
    assert (seen.median, seen.least, seen.most, cell.errors) == (500, 480, 900, 3)


@pytest.mark.parametrize(
    ("aim", "value"),
    [
        pytest.param(Aim(body="small", connections=64, measure="requests_per_s", peer="fastapi-lean"), 500 / 120),
        pytest.param(Aim(body="small", connections=64, measure="p99_ms", peer="fastapi-lean"), 0.25),
        pytest.param(Aim(body="medium", connections=64, measure="requests_per_s"), 10),
        pytest.param(Aim(body="small", connections=64, measure="requests_per_s", peer="pytriton"), None),
        pytest.param(Aim(body="small", connections=16, measure="requests_per_s"), None),
    ],
    ids=["ratio", "latency", "alone", "a peer that was not there", "a load that was not there"],
)
def test_ratios_are_those_of_medians(aim: Aim, value: float | None) -> None:
    assert reached(cells_of(SEEN), aim) == value


def test_aims_name_what_can_be_measured() -> None:
    assert {aim.peer for aim in AIMS} - {None} <= set(PEERS)
    assert Aim(body="small", connections=1, measure="p50_ms", at_most=1).holds(1.0)
    assert not Aim(body="small", connections=1, measure="p50_ms", at_least=4).holds(3.99)


def test_the_fastest_is_first_and_a_miss_is_called_one() -> None:
    cells = cells_of(SEEN)
    assert ranked(cells, "small") == ["inline", "sizewise", "fastapi-lean"]
    text = markdown(SEEN)
    assert "in brackets. A quiet machine.\n" in text
    assert "| **sizewise** | 50 | 500 (480 to 900) |" in text
    assert "| *inline (a bound)* | - | 1,000 |" in text
    assert "| >= 4 | 4.17 |" in text
    assert "| >= 4,000 | 10.00, missed |" in text
    assert "pytriton" not in text, "nothing is said of what was not measured"


def test_the_picture_is_whole() -> None:
    tree = ET.fromstring(svg(SEEN))
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {"sizewise", "inline (bound)", "500, 3 errors", "1 to 8"} <= set(texts)
    ends = [float(each.attrib["x"]) for each in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert max(ends) < float(tree.attrib["width"])


def test_every_second_round_runs_backwards() -> None:
    plan = Plan(peers=["sizewise", "flask"], bodies=["small", "image-binary"], connections=[1], seconds=1, warmup_s=0,
                repeats=2)  # fmt: skip
    turns = [(turn.body, turn.peer) for turn in turns_of(plan)]
    assert turns == [
        ("small", "sizewise"),
        ("small", "flask"),
        ("image-binary", "sizewise"),
        ("small", "flask"),
        ("small", "sizewise"),
        ("image-binary", "sizewise"),
    ]


@pytest.mark.parametrize(
    ("got", "said"),
    [
        pytest.param({"outputs": [{"data": [1.0, 2000.5]}]}, None, id="v2"),
        pytest.param([[1.0005, 2000.0]], None, id="nested"),
        pytest.param([[1.0]], "1 numbers instead of 2", id="too few"),
        pytest.param([[1.0, 2003.0]], "2003 instead of 2000, and 0 more", id="wrong"),
    ],
)
def test_answers_are_compared(got: Any, said: str | None) -> None:
    assert difference(got, (1.0, 2000.0)) == said


def test_a_body_says_the_same_in_every_form() -> None:
    row = np.array([[0.25, 0.1]], np.float32)
    forms = forms_of(row, binary=False)
    tensor = json.loads(forms["v2"][0])["inputs"][0]
    assert tensor == {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.25, 0.1]}
    assert json.loads(forms["nested"][0]) == {"inputs": [[0.25, 0.1]]}
    content, headers = forms_of(row, binary=True)["binary"]
    size = int(headers["Inference-Header-Content-Length"])
    assert np.frombuffer(content[size:], np.float32).tolist() == row[0].tolist()


@pytest.mark.parametrize(("value", "text"), [(12345.6, "12,346"), (99.96, "100"), (1.234, "1.23"), (0.0, "0")])
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_every_peer_has_its_server() -> None:
    folder = Path(__file__).resolve().parents[3] / "benchmarks/serving/peers"
    used = {peer.folder for peer in PEERS.values() if peer.folder}
    assert used == {path.parent.name for path in folder.glob("*/app.py")}
