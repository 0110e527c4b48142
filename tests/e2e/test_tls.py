"""The data port with TLS: what it accepts, how long it waits, and what becomes of a certificate that changes."""

import asyncio
import contextlib
import json
import os
import shutil
import ssl
from pathlib import Path

import psutil
import pytest

from sizewise.cli.show_up import example_request
from tests.e2e import certificates, real_models
from tests.e2e.certificates import Files
from tests.e2e.gateway_rig import INPUTS, FakeReplica, Http, Process
from tests.e2e.up import sizewise, up

ROUTE = {"model": "m", "version": "v1", "socket": "r-r1.sock", "max_outstanding": 64}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return certificates.write(tmp_path)


def serving(files: Files) -> Process:
    return Process("--tls-cert", str(files.cert), "--tls-key", str(files.key))


def client_context(files: Files) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files.ca))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def secure(gateway: Process, context: ssl.SSLContext) -> Http:
    return Http(*await asyncio.open_connection("127.0.0.1", gateway.port, ssl=context, server_hostname="localhost"))


async def ended(client: Http) -> None:
    client.writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await client.writer.wait_closed()


async def test_requests_of_all_sizes(files: Files) -> None:
    async with serving(files) as gateway:
        replica = await FakeReplica(gateway.folder / "r-r1.sock").start()
        replica.echo = True
        await gateway.routes(r1=ROUTE)
        client = await secure(gateway, client_context(files))
        tls = client.writer.get_extra_info("ssl_object")
        assert (tls.version(), tls.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        for body in (INPUTS, bytes(3 << 20), b"x"):
            assert await client.post("/v2/models/m/infer", body).answer() == (200, body)
        client.get("/v2/health/ready").get("/v2/models", "Connection: close\r\n")
        assert [(await client.answer())[0] for _ in range(2)] == [200, 200]
        assert await client.ended() == b""
        await ended(client)
        replica.die()


async def test_refusal_in_the_middle_of_a_body_arrives(files: Files) -> None:
    async with serving(files) as gateway:
        await gateway.routes()
        client = await secure(gateway, client_context(files))
        client.send(b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\nabc")
        assert (await client.answer())[0] == 413
        await ended(client)


async def test_the_local_socket_speaks_plain_http(files: Files) -> None:
    async with serving(files) as gateway:
        await gateway.routes()
        probe = await secure(gateway, client_context(files))
        client = Http(*await asyncio.open_unix_connection(str(gateway.folder / "data.sock")))
        assert await client.get("/v2/health/ready").answer() == (200, b'{"ready":true}')
        await ended(client)
        await ended(probe)


async def test_a_changed_certificate_is_served_without_a_restart(files: Files, tmp_path: Path) -> None:
    async with serving(files) as gateway:
        await gateway.routes()
        before = await secure(gateway, client_context(files))
        new = certificates.write(tmp_path, "new")
        shutil.copy(new.cert, files.cert)  # half of it: that pair is wrong, and the old one goes on
        await asyncio.sleep(0)
        new.key.replace(files.key)
        client = None
        async with asyncio.timeout(20):
            while client is None:
                await asyncio.sleep(0.05)  # it looks once a second, and has no way to tell
                with contextlib.suppress(ssl.SSLError):
                    client = await secure(gateway, client_context(new))
        assert (await client.get("/v2/health/live").answer())[0] == 200
        assert (await before.get("/v2/health/live").answer())[0] == 200, "open connections go on"
        await ended(client)
        await ended(before)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n", id="plain HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600), id="a broken hello"),
        pytest.param(os.urandom(2000), id="noise"),
    ],
)
async def test_what_is_no_tls_ends(files: Files, sent: bytes) -> None:
    async with serving(files) as gateway:
        await gateway.routes()
        client = (await gateway.connect()).send(sent)
        with contextlib.suppress(ConnectionError):
            assert b"HTTP/1.1" not in await client.ended()
        good = await secure(gateway, client_context(files))
        assert (await good.get("/v2/health/live").answer())[0] == 200
        await ended(good)


async def test_tls_1_1_is_refused(files: Files) -> None:
    async with serving(files) as gateway:
        await gateway.routes()
        context = client_context(files)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        client = await secure(gateway, context)
        assert client.writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        await ended(client)
        # This side's library makes no older hello, so one is sent by hand: TLS 1.0, no extensions
        hello = b"\x03\x01" + bytes(32) + b"\x00\x00\x04\x00\x2f\x00\x35\x01\x00"
        record = b"\x01" + len(hello).to_bytes(3, "big") + hello
        old = (await gateway.connect()).send(b"\x16\x03\x01" + len(record).to_bytes(2, "big") + record)
        with contextlib.suppress(ConnectionError):
            assert (await old.ended())[:1] in {b"", b"\x15"}, "an alert"


async def test_handshakes_that_never_end_are_bounded(files: Files) -> None:
    async with serving(files) as gateway:
        await gateway.routes()
        process = psutil.Process(gateway.process.pid)
        before = process.num_fds()
        for _ in range(600):
            await gateway.connect()
        client = await secure(gateway, client_context(files))
        assert (await client.get("/v2/health/live").answer())[0] == 200, "the oldest made room"
        assert process.num_fds() - before < 300
        await ended(client)


def up_with(tmp_path: Path, tls: str) -> str:
    (tmp_path / "sizewise.yaml").write_text(f"serving: {{port: 0, admin_port: 0, tls: {tls}}}\n")
    run = sizewise("up", tmp_path / "sizewise.yaml", "--state-dir", tmp_path / "state", "--detach")
    assert run.returncode == 2, run.stderr
    (line,) = run.stderr.strip().splitlines()
    return line


def test_what_is_wrong_with_the_files_is_said_in_one_line(files: Files, tmp_path: Path) -> None:
    other = certificates.write(tmp_path, "other")
    (tmp_path / "junk.pem").write_text("nothing")
    (tmp_path / "junk.pem").chmod(0o600)
    assert "none.pem is no file" in up_with(tmp_path, "{cert: none.pem, key: tls.key}")
    assert "do not belong together" in up_with(tmp_path, f"{{cert: tls.pem, key: {other.key}}}")
    assert "no such PEM file" in up_with(tmp_path, "{cert: junk.pem, key: tls.key}")
    assert "needs both cert and key" in up_with(tmp_path, "{cert: tls.pem}")
    files.key.chmod(0o644)
    assert "chmod 600" in up_with(tmp_path, "{cert: tls.pem, key: tls.key}")


def test_bench_and_the_printed_request_know_https(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_models.write_mlp(tmp_path / "mlp.onnx")
    serving = f"\nserving: {{port: 0, admin_port: 0, tls: {{cert: {files.cert}, key: {files.key}}}}}\n"
    with up("models: {mlp: {uri: mlp.onnx, scaling: {min_replicas: 1}}}", tmp_path, serving=serving) as system:
        assert system.url.startswith("https://")
        shown = example_request(system.url, ["mlp"], cert=str(files.cert))
        assert shown.startswith(f"curl -s --cacert {files.cert} https://127.0.0.1:")
        assert shown.count("/infer -d"), "its own metadata could be read"
        here = ("--state-dir", system.state_dir, "--rate", "20", "--seconds", "0.5", "--warmup-s", "0.2", "-o", "json")
        refused = sizewise("bench", "mlp", *here)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
        assert "certificate verify failed" in refused.stderr
        monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
        # A busy machine may make it say that it was the limit itself; it has measured all the same
        report = json.loads(sizewise("bench", "mlp", *here).stdout)
        assert report["url"] == f"{system.url}/v2/models/mlp/infer"
