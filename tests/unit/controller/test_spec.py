"""sizewise.yaml: what is read, and what every mistake is answered with."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.controller.spec import (
    MachineSpec,
    ModelSpec,
    ServingSpec,
    Spec,
    check_name,
    parse_spec,
)
from sizewise.core.fleet import ScalingPolicy
from sizewise.core.slo import Slo
from sizewise.core.units import GIB
from sizewise.protocols.backend import CommandSpec
from sizewise.protocols.errors import SpecError, UsageError

BASE = Path("/models")
ISSUE = """
project: shop
models:
  digits:
    uri: models/digits.onnx
    slo: {p95_ms: 50}
    scaling: {min_replicas: 0, max_replicas: 4, priority: 10}
  legacy:
    command: [gunicorn, -b, "127.0.0.1:{port}", "app:app", --workers, 2]
    ready: {path: /healthz, timeout_s: 60}
machine: {cpus: 2, memory: 4GiB, disk: 20GiB}
serving: {host: 127.0.0.1, port: 8080, admin_port: 8081}
"""


def parse(text: str) -> Spec:
    return parse_spec(text, file="sizewise.yaml", base=BASE, check_files=False)


def test_everything_is_read() -> None:
    assert parse(ISSUE) == Spec(
        project="shop",
        models=(
            ModelSpec(
                name="digits",
                uri="/models/models/digits.onnx",
                slo=Slo(0.95, 0.05),
                scaling=ScalingPolicy(min_replicas=0, max_replicas=4, priority=10),
            ),
            ModelSpec(
                name="legacy",
                command=CommandSpec(
                    argv=("gunicorn", "-b", "127.0.0.1:{port}", "app:app", "--workers", "2"),
                    cwd="/models",
                    ready_path="/healthz",
                    ready_timeout_s=60.0,
                ),
            ),
        ),
        machine=MachineSpec(cpus=2.0, memory_bytes=4 * GIB, disk_bytes=20 * GIB),
        serving=ServingSpec(host="127.0.0.1", port=8080, admin_port=8081),
        source="sizewise.yaml",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "1: (file): is empty: write one with", id="empty"),
        pytest.param("a: [", "1: (file): is not YAML: ", id="no YAML"),
        pytest.param("a: *b", "1: (file): is not YAML: found undefined alias", id="unknown alias"),
        pytest.param("[" * 5000, "1: (file): is nested too deeply", id="nested"),
        pytest.param("- a", "1: (file): is a list: give project, models", id="a list"),
        pytest.param("modles: {}", "1: modles: unknown key, did you mean models?: allowed are", id="unknown key"),
        pytest.param("models:\n  a: {uri: x}\n  a: {uri: y}", "3: models.a: stands here a second time", id="twice"),
        pytest.param("models: {A: {uri: x}}", "models.A: is no model name: use 1 to 63", id="name"),
        pytest.param("models: {../a: {uri: x}}", "is no model name", id="name with a path"),
        pytest.param("models: {? [a] : {uri: x}}", "a key is not a plain word", id="a list as key"),
        pytest.param("models: {a: {}}", "models.a: has neither uri nor command: give exactly one", id="neither"),
        pytest.param("models: {a: {uri: x, command: [y]}}", "models.a: has both", id="both"),
        pytest.param("models: {a: {uri: x, ready: {}}}", "models.a.ready: belongs to a command", id="ready of a file"),
        pytest.param("models: {a: {uri: s3://b/x}}", "models.a.uri: s3://b/x is in a store", id="another store"),
        pytest.param("models: {a: {uri: 5}}", "models.a.uri: is a number: give the path", id="uri is a number"),
        pytest.param("models: {a: {command: x}}", "models.a.command: is text: give a list", id="command is text"),
        pytest.param("models: {a: {command: []}}", "models.a.command: is empty: give a list", id="empty command"),
        pytest.param("models: {a: {command: [[x]]}}", "models.a.command[0]: is a list", id="nested argument"),
        pytest.param("models: {a: {command: [x], ready: {path: h}}}", "models.a.ready.path: h does not", id="path"),
        pytest.param("models: {a: {uri: x, slo: {}}}", "models.a.slo: has 0 goals: give exactly one", id="no goal"),
        pytest.param("models: {a: {uri: x, slo: {p95_ms: 1, p50_ms: 1}}}", "has 2 goals", id="two goals"),
        pytest.param("models: {a: {uri: x, slo: {p95_ms: 0}}}", "p95_ms: 0 is out of range: give a number", id="zero"),
        pytest.param("models: {a: {uri: x, slo: {p95_ms: .nan}}}", "p95_ms: .nan is not a decimal", id="NaN"),
        pytest.param("models: {a: {uri: x, slo: {p95_ms: yes}}}", "p95_ms: is true or false", id="a truth"),
        pytest.param(
            "models: {a: {uri: x, scaling: {min_replicas: 5, max_replicas: 2}}}",
            "min_replicas: 5 is above max_replicas: give a whole number from 0 to 2",
            id="least above most",
        ),
        pytest.param("models: {a: {uri: x, scaling: {max_replicas: 0}}}", "max_replicas: 0 is out", id="no replica"),
        pytest.param("models: {a: {uri: x, scaling: {priority: 1.5}}}", "1.5 is not a whole number", id="a fraction"),
        pytest.param(
            "models: {a: {uri: x, isolation: alone}}",
            "models.a.isolation: alone is none of them: give one of auto, process, inline",
            id="isolation",
        ),
        pytest.param("machine: {memory: 4XB}", "1: machine.memory: '4XB' is not a size", id="size"),
        pytest.param("machine: {memory: 0}", "machine.memory: is zero", id="no memory"),
        pytest.param("machine: {cpus: -1}", "machine.cpus: -1 is out of range", id="cpus"),
        pytest.param("serving: {port: 70000}", "serving.port: 70000 is out of range", id="port"),
        pytest.param("serving:\n  port: 1\n  admin_port: 1", "3: serving.admin_port: port and admin_port", id="ports"),
        pytest.param("serving: {allowed_hosts: x}", "serving.allowed_hosts: is text: give a list", id="hosts"),
        pytest.param(
            "serving: {allowed_hosts: ['http://a:80/']}", "'http://a:80/' is no host name: give a name", id="an address"
        ),
        pytest.param("models: {a: {command: [x], isolation: inline}}", "inline is not for a command", id="inline"),
        pytest.param("machine: {memory: 4}", "machine.memory: 4 has no unit: write a size such as 4GiB", id="unit"),
        pytest.param("project: Shop Nr 1", "project: 'Shop Nr 1' is no name", id="project"),
    ],
)
def test_mistakes_name_line_key_and_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse(text)
    assert str(raised.value).startswith("sizewise.yaml:")
    assert said in str(raised.value)
    assert raised.value.exit_code == 2
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"2: models\.a\.uri: gone\.onnx does not exist: relative paths start from"):
        parse_spec("models:\n  a: {uri: gone.onnx}", file="s.yaml", base=tmp_path)


@pytest.mark.parametrize("key", ["api_keys: gone", "tls: {cert: gone, key: gone}"])
def test_a_missing_file_of_serving_is_named_with_its_line(key: str, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"2: serving\.(api_keys|tls\.cert): gone is no file: relative paths start from"
    ):
        parse_spec(f"serving:\n  {key}", file="s.yaml", base=tmp_path)


def test_aliases_cost_no_more_than_they_are_long() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [{'*a, ' * 9}*a]\n" for i in range(50))
    with pytest.raises(SpecError, match="unknown key"):
        parse(bomb)


def test_empty_sections_are_the_defaults() -> None:
    assert parse("project: a\nmodels:\nmachine: {}\nserving:\n") == Spec(project="a", source="sizewise.yaml")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(SpecError):
        parse(text)


@pytest.mark.parametrize(
    "name", ["", "A", "-a", ".a", "a" * 64, "a/b", "a b", "ä", "a\n"], ids=lambda name: repr(name)[:12]
)
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no model name"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "0", "resnet-50_v1.5", "a" * 63])
def test_names_that_are_fine(name: str) -> None:
    assert check_name(name) == name
