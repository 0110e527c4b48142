"""Tables of the documentation name exactly what the code has: keys of the spec, metrics, admin calls, reasons."""

import re
from pathlib import Path
from typing import Any, cast

import pytest

from sizewise.controller.spec import ModelSpec, ServingSpec, Spec, parse_spec
from sizewise.core.fleet import ScalingPolicy
from sizewise.core.reasons import CODES
from sizewise.protocols.backend import CommandSpec
from sizewise.protocols.errors import SpecError
from sizewise.server.admin import build_api
from tests.repo.paths import ROOT, SRC

DOCS = ROOT / "docs"
SECTIONS = {
    "": "zzz: 1",
    "models.NAME": "models: {a: {zzz: 1}}",
    "models.NAME.ready": "models: {a: {command: [x], ready: {zzz: 1}}}",
    "models.NAME.slo": "models: {a: {uri: x, slo: {zzz: 1}}}",
    "models.NAME.scaling": "models: {a: {uri: x, scaling: {zzz: 1}}}",
    "machine": "machine: {zzz: 1}",
    "serving": "serving: {zzz: 1}",
    "serving.tls": "serving: {tls: {zzz: 1}}",
}
_ROW = re.compile(r"^\| `([^`]+)` \|(.*)\|$", re.MULTILINE)


def rows(page: str) -> dict[str, list[str]]:
    """The cells of each table row whose first cell is code, by that code."""
    found = _ROW.findall((DOCS / page).read_text())
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in found}


def known_keys() -> set[str]:
    """What the parser itself lists when it meets a key that it does not know."""
    keys = set()
    for section, text in SECTIONS.items():
        with pytest.raises(SpecError) as refused:
            parse_spec(text, file="s", base=Path("/"), check_files=False)
        allowed = str(refused.value).rpartition("allowed are ")[2]
        keys |= {f"{section}.{key}".lstrip(".") for key in allowed.split(", ")}
    return keys


def test_every_key_of_the_spec_is_explained() -> None:
    assert rows("spec.md").keys() == known_keys()


def test_defaults_of_the_spec() -> None:
    model, serving, scaling, command = ModelSpec(name="a"), ServingSpec(), ScalingPolicy(), CommandSpec(argv=())
    defaults: dict[str, object] = {
        "project": Spec().project,
        "models.NAME.timeout_s": model.timeout_s,
        "models.NAME.max_queue": model.max_queue,
        "models.NAME.hold_s": model.hold_s,
        "models.NAME.isolation": model.isolation,
        "models.NAME.load_ready": str(model.load_ready).lower(),
        "models.NAME.ready.path": command.ready_path,
        "models.NAME.ready.timeout_s": command.ready_timeout_s,
        **{f"models.NAME.scaling.{key}": getattr(scaling, key) for key in ("min_replicas", "max_replicas", "priority")},
        **{f"serving.{key}": getattr(serving, key) for key in ("host", "port", "admin_port")},
    }
    said = rows("spec.md")
    shown = {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in defaults.items()}
    assert {key: said[key][1] for key in defaults} == shown


def test_every_metric_is_explained() -> None:
    source = (SRC / "sizewise" / "server" / "metrics.py").read_text()
    known = set(re.findall(r'"((?:sizewise|nv)_[a-z_]+)"', source))
    said = {name.removesuffix("_total") for name in rows("operate.md") if re.match(r"(sizewise|nv)_", name)}
    assert said == known


def test_every_admin_call_is_explained() -> None:
    paths = build_api(cast("Any", None), lambda _: None, Path()).openapi()["paths"]
    known = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    said = {name for name in rows("admin-api.md") if re.match(r"(GET|POST|DELETE) ", name)}
    assert said == known


def test_every_reason_is_listed() -> None:
    section = (DOCS / "scaling.md").read_text().partition("## Every reason")[2]
    listed = re.findall(r"`([a-z_]+)`", section)
    assert sorted(listed) == sorted(CODES)


def test_every_page_and_decision_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text()
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if path.name != "index.md"]
    assert not [page for page in pages if f"({page}" not in index]
