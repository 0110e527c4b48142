"""What a spec asks for and a running system cannot change is said, not swallowed."""

import pytest

from sizewise.cli.show_up import staying_lines
from sizewise.controller.spec import MachineSpec, ServingSpec, Spec
from sizewise.core.units import GIB

STATUS = {
    "machine": {"cpus": 2.0, "memory_bytes": 2 * GIB, "disk_bytes": 20 * GIB},
    "data_url": "http://127.0.0.1:8080",
    "admin_url": "http://127.0.0.1:8081",
}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param(Spec(), [], id="nothing asked for"),
        pytest.param(Spec(machine=MachineSpec(cpus=2, memory_bytes=2 * GIB)), [], id="as it is"),
        pytest.param(
            Spec(machine=MachineSpec(memory_bytes=GIB)),
            ["machine.memory stays 2.0 GiB instead of 1.0 GiB"],
            id="memory",
        ),
        pytest.param(Spec(machine=MachineSpec(cpus=4)), ["machine.cpus stays 2 instead of 4"], id="cpus"),
        pytest.param(Spec(serving=ServingSpec(port=9000)), ["serving.port stays 8080 instead of 9000"], id="port"),
    ],
)
def test_what_stays_is_said(spec: Spec, said: list[str]) -> None:
    assert [line.partition(":")[0] for line in staying_lines(spec, STATUS)] == said
