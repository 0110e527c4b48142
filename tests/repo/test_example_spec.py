"""The annotated spec: what ``sizewise init`` writes is the example, names every key, and says what absence means."""

from dataclasses import fields
from pathlib import Path

from sizewise.cli.init import template
from sizewise.controller.spec import MachineSpec, ModelSpec, ServingSpec, Spec, parse_spec
from sizewise.core.fleet import ScalingPolicy
from sizewise.core.slo import Slo
from sizewise.protocols.backend import CommandSpec
from tests.repo.paths import ROOT

BASE = Path("/models")


def test_init_writes_the_example() -> None:
    assert template() == (ROOT / "examples/sizewise.yaml").read_text()


def test_the_annotated_example_equals_the_defaults() -> None:
    spec = parse_spec(template(), file="sizewise.yaml", base=BASE, check_files=False)
    digits, legacy = spec.models
    assert digits == ModelSpec(name="digits", uri="/models/models/digits.onnx", slo=Slo(0.95, 0.05))
    assert legacy.command is not None
    assert legacy == ModelSpec(name="legacy", command=CommandSpec(argv=legacy.command.argv, cwd=str(BASE)))
    assert (spec.project, spec.machine, spec.serving) == (Spec().project, MachineSpec(), ServingSpec())


def test_the_annotated_example_names_every_key() -> None:
    text = template()
    keys = [field.name for kind in (ModelSpec, ServingSpec, ScalingPolicy) for field in fields(kind)]
    keys += ["cpus", "memory", "disk", "cwd", "env", "ready", "p95_ms"]
    assert not [key for key in keys if key != "name" and f"{key}:" not in text]
