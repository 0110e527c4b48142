from pathlib import Path

import pytest

from sizewise.core.tensors import DATATYPE_BYTES, TensorSpec
from sizewise.loadgen.bodies import VARIANTS, bodies_of, body_from
from sizewise.loadgen.request import Body, target_of
from sizewise.protocols.errors import UsageError
from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip import Signature, decode
from sizewise.protocols.oip.values import BINARY_ONLY

FORMS = [(name, form) for name in sorted(DATATYPE_BYTES) for form in (True, False) if form or name not in BINARY_ONLY]


def spec(datatype: str, *shape: int) -> TensorSpec:
    return TensorSpec(name="x", datatype=datatype, shape=shape)


@pytest.mark.parametrize(("datatype", "binary"), FORMS)
def test_our_own_codec_takes_what_is_made(datatype: str, binary: bool) -> None:
    inputs = (spec(datatype, -1, 3, -1),)
    made = bodies_of(inputs, rows=2, binary=binary)
    assert len({body.content for body in made}) > 1, "not all alike"
    assert len(made) == VARIANTS
    for body in made:
        size = int(body.headers.get("Inference-Header-Content-Length", 0))
        encoding = Encoding.V2_BINARY if binary else Encoding.V2_JSON
        request = decode(body.content, signature=Signature(inputs=inputs), encoding=encoding, json_bytes=size)
        assert [tuple(tensor.shape) for tensor in request.inputs] == [(2, 3, 16)]


@pytest.mark.parametrize(
    ("inputs", "rows", "said"),
    [
        pytest.param((), None, "does not say what it takes", id="no inputs"),
        pytest.param((spec("FP16", -1),), None, "no JSON form: add --binary", id="half floats"),
        pytest.param((spec("FP32", 8, 4),), 2, "use --rows 8", id="fixed rows"),
        pytest.param((spec("COMPLEX", 1),), None, "is COMPLEX: give a request with --body", id="unknown"),
    ],
)
def test_bodies_that_cannot_be_made(inputs: tuple[TensorSpec, ...], rows: int | None, said: str) -> None:
    with pytest.raises(UsageError) as error:
        bodies_of(inputs, rows=rows)
    assert said in str(error.value)


def test_fixed_rows_are_taken_from_the_model() -> None:
    assert b'"shape": [8, 4]' in bodies_of([spec("FP32", 8, 4)])[0].content


@pytest.mark.parametrize(("content", "kind"), [(b' {"a": 1}', "application/json"), (b"\x89PNG", "octet-stream")])
def test_body_from_a_file(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "body").write_bytes(content)
    assert kind in body_from(tmp_path / "body").headers["Content-Type"]


def test_messages() -> None:
    get = target_of("http://[::1]:81?a=1")
    assert get.requests[0].startswith(b"GET /?a=1 HTTP/1.1\r\nHost: [::1]:81\r\n")
    assert (get.host, get.port, get.tls) == ("::1", 81, None)
    post = target_of("https://h/p", [Body(content=b"xy", headers={"Content-Type": "t"})], headers={"K": "v"})
    assert post.requests[0].endswith(b"Content-Type: t\r\nContent-Length: 2\r\nK: v\r\n\r\nxy")
    assert (post.port, post.tls is not None) == (443, True)


@pytest.mark.parametrize("url", ["ftp://a/b", "http://", "http://a:b/", "http://a/b c", "http://a/é"])
def test_bad_addresses(url: str) -> None:
    with pytest.raises(UsageError):
        target_of(url)


def test_a_header_cannot_add_another() -> None:
    with pytest.raises(UsageError, match="one line only"):
        target_of("http://a/", headers={"K": "v\r\nX: y"})
