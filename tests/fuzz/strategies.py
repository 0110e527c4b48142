"""What random inputs are made of: pieces of what each target reads, what was kept before, and noise."""

import struct

from hypothesis import strategies as st

from sizewise.grpc_gateway.messages import ModelInferRequest
from sizewise.protocols.frames import Encoding, Flag, Frame, Kind, encode

POST = b"POST /v2/models/m/infer HTTP/1.1\r\nHost: localhost\r\n"
TENSOR = b'{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}'
NUMBERS = [b"0", b"-1", b"1", b"+5", b"0x3", b"1e999", b"18446744073709551616", b"2147483648", b"1.5", b"\xc2\xb2"]
HTTP = [
    *(
        POST,
        b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"HEAD /v2/models/m HTTP/1.0\r\n\r\n",
        b"\r\n",
        b"\n",
        b"\r",
    ),
    *(
        b"Content-Length: 3\r\n",
        b"content-length:",
        b"Transfer-Encoding: chunked\r\n",
        b"transfer-encoding :chunked\r\n",
    ),
    *(
        b"Expect: 100-continue\r\n",
        b"Connection: close, upgrade\r\n",
        b"Upgrade: h2c\r\n",
        b"Host: localhost\r\n",
        b"X: ",
    ),
    *(
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"2;a=b\r\nab\r\n",
        b"fffffffffffffffff\r\n",
        b" chunked",
        b"\t",
    ),
    *(b"Connection: keep-alive\r\n", b"X-Request-Timeout: 1\r\n", b"Inference-Header-Content-Length: 2\r\n", b"\x00"),
    *(
        b"GET http://localhost/%zz?timeout=1 HTTP/1.1\r\n",
        b"POST /invocations HTTP/1.0\r\n",
        b" HTTP/1.1\r\n",
        b"OPTIONS * ",
    ),
    *(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"CONNECT a:1 HTTP/1.1\r\n",
        b"Upgrade: websocket\r\n",
    ),
    *(
        POST + b"Content-Length: 3\r\n\r\nabc",
        POST + b"Transfer-Encoding: chunked\r\n\r\n",
        b"%",
        b"a" * 1100,
        b": ",
        b",",
    ),
]
_FRAME = Frame(kind=Kind.RESULT, request_id=1, status=200, encoding=Encoding.V2_JSON, body=b"{}", batch=1)
FRAMES = [
    encode(_FRAME),
    encode(Frame(kind=Kind.RESULT, request_id=2, status=400, encoding=Encoding.ERROR_JSON, body=b'{"error":"x"}')),
    encode(
        Frame(
            kind=Kind.RESULT,
            request_id=3,
            status=200,
            encoding=Encoding.V2_BINARY,
            body=b"{}" + bytes(90),
            json_bytes=2,
        )
    ),
    encode(Frame(kind=Kind.RESULT, request_id=9, status=200, flags=Flag.LEAD, batch=2, deadline_ns=5)),
    encode(Frame(kind=Kind.RESULT, request_id=1, status=0)),
    encode(Frame(kind=Kind.HELLO, request_id=0, body=b'{"replica_id":"r1"}')),
    encode(Frame(kind=Kind.HELLO, request_id=0, body=b"[]")),
    encode(Frame(kind=Kind.INFER, request_id=7, target=b"m@v1", body=b"abc")),
    *(b"SZ", b"SZ\x01", b"SZ\x02\x03", struct.pack("<I", 4097), struct.pack("<Q", 1), bytes(8), b"\xff" * 4, b"{}"),
]
BODY = [
    *(
        b'{"inputs":[',
        TENSOR,
        b"]}",
        b",",
        b'"id":"a",',
        b'{"instances":[[1,2]]}',
        b'{"inputs":{"x":[[1,2]]}}',
        b"1,2\n3,4\n",
    ),
    *(
        b'"parameters":{"binary_data_size":8}',
        b'"outputs":[{"name":"y","parameters":{"binary_data":true}}]',
        b"[",
        b"]",
        b"{",
        b"}",
    ),
    *(
        b'"shape":[1,2]',
        b'"shape":[0]',
        b'"shape":[-1,2]',
        b'"shape":[4294967296,4294967296]',
        b'"datatype":"BYTES"',
        b'"name":"x"',
    ),
    *(
        b'"datatype":"INT8"',
        b'"datatype":"FP16"',
        b'"data":[',
        b'"\\ud800"',
        b"null",
        b"true",
        b"\x02\x00\x00\x00ab",
        bytes(8),
    ),
    *(
        b'"name":"b"',
        b'"parameters":{"timeout":5,"binary_data_output":true}',
        b"NaN",
        b"\xef\xbb\xbf",
        b'"x"',
        b":",
        b"\r\n",
        b'""',
    ),
    b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}' + bytes(8),
    *NUMBERS,
]
ANSWERS = [
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n", b"HTTP/1.1 204 \r\n\r\n", b"HTTP/1.1 503 x\r\n"),
    *(
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/2 200\r\n",
    ),
    *(b"Content-Length: 3\r\n", b"content-length:", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n"),
    *(
        b"Connection: close\r\n",
        b"Connection: X, keep-alive\r\n",
        b"X: y\r\n",
        b"Location: /a\r\n",
        b"\r\n",
        b"\n",
        b"\x00",
    ),
    *(
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"2;a=b\r\nab\r\n",
        b"fffffffffffffffff\r\n",
        b"abc",
        b"a" * 70,
    ),
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nabc",
]
_REQUEST = ModelInferRequest(model_name="m", id="a", raw_input_contents=[bytes(8)])
_REQUEST.inputs.add(name="x", datatype="FP32", shape=[1, 2])
_TYPED = ModelInferRequest(model_name="m")
_TYPED.inputs.add(name="x", datatype="INT8", shape=[2]).contents.int_contents.extend([1, 300])
_TYPED.inputs.add(name="b", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"ab")
_TYPED.parameters["timeout"].int64_param = 5
_TYPED.outputs.add(name="y").parameters["k"].double_param = float("inf")
_ANSWER = (
    b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}'
)
GRPC = [
    *(_REQUEST.SerializeToString(), _TYPED.SerializeToString(), b"\xff" + _ANSWER + bytes(4), b"\x3a\x08" + bytes(8)),
    *(b"\x2a\x0e\n\x01x\x12\x04FP32\x1a\x02\x01\x02", b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", b"\n\x01m"),
    *(
        b'"id":[1],',
        b'"shape":[-1]',
        b'"shape":["a"]',
        b'"binary_data_size":-4',
        b'"parameters":{"a":1e400}',
        b"[]",
        b"\xff",
    ),
    *(b'"name":null', b'"outputs":{}', b'"datatype":7', b"\x1a\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
]
TOKENS: dict[str, list[bytes]] = {
    "grpc": GRPC,
    "http": HTTP + NUMBERS,
    "frames": FRAMES,
    "replica": FRAMES,
    "body": BODY,
    "quick": BODY,
    "proxy": ANSWERS + NUMBERS,
    "upstream": ANSWERS + NUMBERS,
}


def inputs(name: str, kept: list[bytes]) -> st.SearchStrategy[bytes]:
    """Inputs of a target: parts put together, or a kept input with something in it replaced."""
    parts = st.one_of(st.sampled_from(TOKENS[name]), st.binary(max_size=8))
    made = st.builds(
        lambda first, rest: first + b"".join(rest), st.binary(min_size=1, max_size=2), st.lists(parts, max_size=14)
    )
    if not kept:
        return made

    def spliced(base: bytes, at: int, cut: int, part: bytes) -> bytes:
        at %= len(base) + 1
        return base[:at] + part + base[at + cut :]

    changed = st.builds(spliced, st.sampled_from(kept), st.integers(0, 1 << 12), st.integers(0, 24), parts)
    return st.one_of(made, changed, st.builds(spliced, changed, st.integers(0, 1 << 12), st.integers(0, 24), parts))
