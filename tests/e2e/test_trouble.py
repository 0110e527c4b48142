"""Models that grow, die or never load: each is named, none hurts another."""

from collections.abc import Iterator

import onnx
import pytest

from tests.e2e import code_models
from tests.e2e.plane import doubling
from tests.e2e.steady_load import ROW, Load
from tests.e2e.system import System, named, ready, replicas

AFTER = 40


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with System() as made:
        onnx.save(doubling(), str(made.models / "m.onnx"))
        made.up(made.spec("m: {uri: models/m.onnx, scaling: {min_replicas: 1}}", machine="{memory: 2GiB}"))
        yield made


async def test_one_that_outgrows_its_peak_is_ended_and_its_need_recorded(system: System) -> None:
    held = "HELD.append(bytearray(b'1') * (300 << 20)) if inputs['x'][0][0] > 100 else None"
    path = code_models.write(system.folder / "grows.py", predict=held)
    path.write_text("HELD = []\n" + path.read_text())
    system.ok("profile", path)
    await system.until(ready("m"))
    system.ok("deploy", "grows", path, "--allow-code", "--min-replicas", "1")
    before = await system.until(lambda seen: ready("grows")(seen) and ready("m")(seen))
    profiled = named(before, "grows")["figures"]["replica_bytes"]["profiled"]
    async with Load(system.port, "m") as load:
        answer = system.ask("grows", [101.0, 0.0, 0.0, 0.0])
        assert answer.status_code == 200, answer.text
        await system.until(
            lambda seen: ready("grows")(seen) and not set(replicas(seen, "grows")) & set(replicas(before, "grows"))
        )
        await load.more(AFTER)
        assert system.ask("grows", ROW).status_code == 200
    assert load.errors == []
    assert replicas(system.status(), "m") == replicas(before, "m")
    decisions = system.explain("grows")["decisions"]
    assert any("half more than its measured peak" in effect for each in decisions for effect in each["effect"])
    needs = [each["inputs"]["replica_bytes"] for each in decisions]
    assert needs[0] > 1.5 * profiled > needs[-1]
    # What is known to be needed is granted from now on. Where it was ended half grown, only half is known yet
    assert await grows_in_peace(system) or await grows_in_peace(system)
    assert "half more than its measured peak" in system.ok("explain", "grows", "-n", "50").out


async def grows_in_peace(system: System) -> bool:
    """Whether the same replica is still there once it holds all that it asks for."""
    before = replicas((await system.until(ready("grows"))), "grows")
    assert system.ask("grows", [101.0, 0.0, 0.0, 0.0]).status_code == 200
    grown = await system.until(
        lambda seen: (named(seen, "grows")["memory_bytes"] > 300 << 20) or replicas(seen, "grows") != before
    )
    return replicas(grown, "grows") == before


@pytest.mark.parametrize(
    ("load", "words"),
    [
        pytest.param("import os; os._exit(3)", "exit 3", id="dies"),
        pytest.param("raise ValueError('no weights today')", "no weights today", id="fails"),
    ],
)
async def test_one_that_never_loads_is_parked(system: System, load: str, words: str) -> None:
    path = code_models.write(system.folder / "dies.py", load=load)
    await system.until(ready("m"))
    before = system.status()
    async with Load(system.port, "m") as clients:
        system.ok("deploy", "dies", path, "--allow-code", "--min-replicas", "1")
        seen = await system.until(lambda seen: "next try in" in (named(seen, "dies")["failure"] or ""))
        await clients.more(AFTER)
    assert clients.errors == []
    assert replicas(seen, "m") == replicas(before, "m")
    assert named(seen, "dies")["state"] == "failed"
    assert words in named(seen, "dies")["reason"]
    shown = system.ok("status").out
    assert words in shown
    refused = system.ask("dies", ROW)
    assert refused.status_code == 503
    assert words in refused.json()["error"]
    assert int(refused.headers["Retry-After"]) >= 1
    system.ok("undeploy", "dies")


async def test_a_load_that_hangs_keeps_no_other_model_asleep(system: System) -> None:
    path = code_models.write(system.folder / "hangs.py", load="import time; time.sleep(600)")
    system.ok("deploy", "hangs", path, "--allow-code", "--min-replicas", "1")
    await system.until(lambda seen: named(seen, "hangs")["replicas"]["loading"] == 1)
    system.ok("deploy", "other", system.models / "m.onnx")
    assert system.ask("other", ROW, timeout_s=60).status_code == 200
    system.ok("undeploy", "hangs")
    await system.until(lambda seen: not replicas(seen, "hangs"))


async def test_one_that_hangs_in_a_call_is_ended_and_its_model_answers_again(system: System) -> None:
    hang = "exec('while inputs[\"x\"][0][0] > 100: pass')"
    path = code_models.write(system.folder / "hangs.py", predict=hang)
    system.ok("deploy", "hangs", path, "--allow-code", "--min-replicas", "1", "--timeout-s", "3")
    before = await system.until(ready("hangs"))
    assert system.ask("hangs", [101.0, 0.0, 0.0, 0.0]).status_code == 504
    await system.until(
        lambda seen: ready("hangs")(seen) and not set(replicas(seen, "hangs")) & set(replicas(before, "hangs"))
    )
    assert system.ask("hangs", ROW).status_code == 200
    assert "it hangs: requests expired there" in system.ok("explain", "hangs", "-n", "50").out
