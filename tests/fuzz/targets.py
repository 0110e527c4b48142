"""What is fuzzed. A target takes bytes, holds what must always hold, and returns the outcome in a few words.

An input that gives a new outcome is worth keeping. The first byte of an input says how it is cut into pieces, so that
a file of the corpus is the whole story.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from sizewise.core.tensors import TensorSpec
from sizewise.gateway.limits import Limits
from sizewise.gateway.link import FrameReplica
from sizewise.grpc_gateway.messages import ModelInferRequest
from sizewise.grpc_gateway.translate import BAD_ANSWER, BadRequestError, answer_of, body_of
from sizewise.protocols.frames import Decoder, Encoding, FrameError, encode
from sizewise.protocols.oip import InferRequest, RequestError, Signature, decode
from sizewise.protocols.oip.quick import plain_document
from sizewise.protocols.oip.v2 import NOTHING, from_document
from sizewise.replica.receiving import Receiver
from tests.fuzz.servers import ASKED, front, proxied
from tests.unit.gateway.rig import FakeReplica, FakeTransport, Rig, infer

LIMITS = Limits(head_bytes=2048, headers=20, body_bytes=1000, buffered_bytes=30_000, pipelined=4)
MAX_FRAME_BODY_BYTES = 4096
STATUSES = {100, 200, 400, 403, 404, 405, 408, 413, 415, 417, 431, 501, 503, 505}

Target = Callable[[bytes], str]


def pieces(data: bytes) -> tuple[bytes, list[bytes]]:
    """The input without its first byte: whole, and cut as that byte says."""
    rest = data[1:]
    step = data[0] if data else 0
    return rest, [rest[at : at + step] for at in range(0, len(rest), step)] if step else [rest]


def http(data: bytes) -> str:
    """However a client's bytes arrive: the same answers and bodies, no accident, nothing kept."""
    whole, cut = pieces(data)
    seen = _conversation([whole])
    # Only how much of a head has arrived may differ, and so only what is said of its size
    assert 431 in seen[0] or seen == _conversation(cut) or 431 in _conversation(cut)[0]
    return f"{seen[0][:3]} {seen[2]}"


def _conversation(parts: list[bytes]) -> tuple[list[int], list[bytes], str]:
    replica = FakeReplica(max_outstanding=100)
    made = Rig(limits=LIMITS)
    made.add(replica)
    client, bodies = made.connect(), []
    for part in parts:
        client.send(part)
        while replica.pending:
            x = next(iter(replica.pending.values()))
            bodies.append(x.joined())
            replica.finish()
    assert not client.transport.aborted, "an answer, not an accident"
    assert set(client.statuses) <= STATUSES, client.statuses
    words = ""
    if client.text.endswith(b"}") and client.statuses[-1] >= 400:  # HEAD has no body
        words = re.sub(r"[0-9'\"].*", "", client.error)[:60]
    client.leave()
    gateway = made.gateway
    assert gateway.buffered_bytes == 0
    assert gateway.in_flight == 0
    assert gateway.models["m"].in_flight == 0
    return client.statuses, bodies, words


def frames(data: bytes) -> str:
    """However a stream of frames is cut: the same frames, which are those that were sent, and the same refusal."""
    whole, cut = pieces(data)
    found, problem, rest = _frames([whole])
    again, problem_again, rest_again = _frames(cut)
    # Those of a piece with a refusal in it are not handed out
    assert problem == problem_again
    assert problem or (found == again and rest == rest_again)
    if not problem:
        assert b"".join(found) + whole[len(whole) - rest :] == whole
    received, problem_received = _received(cut)
    assert problem == problem_received
    assert problem or found == received
    return f"{min(len(found), 2)} {re.sub('[0-9].*| with .*', '', problem)} {bool(rest)}"


def _frames(parts: list[bytes]) -> tuple[list[bytes], str, int]:
    decoder = Decoder(MAX_FRAME_BODY_BYTES)
    found: list[bytes] = []
    try:
        for part in parts:
            found += [encode(frame) for frame in decoder.feed(part)]
    except FrameError as error:
        return found, str(error), 0
    return found, "", decoder.pending_bytes


def _received(parts: list[bytes]) -> tuple[list[bytes], str]:
    """As a replica reads them."""
    receiver, found = Receiver(MAX_FRAME_BODY_BYTES), list[bytes]()
    try:
        for part in parts:
            sent = 0
            while sent < len(part):
                room = receiver.room()
                count = min(len(room), len(part) - sent)
                room[:count] = part[sent : sent + count]
                sent += count
                found += [encode(frame) for frame in receiver.filled(count)]
    except FrameError as error:
        return found, str(error)
    return found, ""


class _Link(FrameReplica):
    """Connected from the start, to nobody."""

    def start(self) -> None:
        self.connected = True
        assert self.model is not None
        self.model.find_ready()


def replica(data: bytes) -> str:
    """Whatever a replica sends, cut anyhow: the same answers to clients, and at worst a broken connection."""
    whole, cut = pieces(data)
    seen = _answers([whole])
    assert seen == _answers(cut)
    return f"{seen[0][:3]} {seen[1]} {seen[2]}"


def _answers(parts: list[bytes]) -> tuple[list[int], bool, int]:
    made = Rig(limits=LIMITS)
    link = _Link("r1", Path("none"), version="v1", max_outstanding=8, max_body_bytes=MAX_FRAME_BODY_BYTES)
    transport = FakeTransport()
    link.connection_made(transport)
    model = made.add()
    model.attach(link)
    clients = [made.ask(infer()) for _ in range(3)]
    for part in parts:
        if transport.aborted:
            break
        link.data_received(part)
    statuses = [status for client in clients for status in client.statuses]
    left = len(link.pending)
    assert left + len(statuses) == len(clients)
    for client in clients:
        client.leave()
    assert made.gateway.buffered_bytes == 0
    assert not link.pending
    return statuses, transport.aborted, left


SIGNATURES = (
    Signature(),
    Signature(inputs=(TensorSpec(name="x", datatype="FP32", shape=(-1, 2)),), batchable=True),
    Signature(
        inputs=(TensorSpec(name="x", datatype="INT8", shape=(-1,)), TensorSpec(name="b", datatype="BYTES", shape=(-1,)))
    ),
    Signature(inputs=(TensorSpec(name="x", datatype="FP64", shape=(-1, 2)),), casts=True, batchable=True),
)
ENCODINGS = (Encoding.V2_JSON, Encoding.V2_BINARY, Encoding.V1_JSON, Encoding.CSV)


def body(data: bytes) -> str:
    """A request decodes to tensors that have what their shapes need, or is refused in one short line."""
    choice = data[0] if data else 0
    signature, encoding = SIGNATURES[choice % 4], ENCODINGS[choice // 4 % 4]
    json_bytes = data[1] * 4 if encoding == Encoding.V2_BINARY and len(data) > 1 else 0
    content = data[2:]
    if encoding == Encoding.V2_BINARY:
        # As if the sender had counted well, more often than not
        at = content.rfind(b"}") + 1
        json_bytes = at if json_bytes % 8 else json_bytes
    try:
        request = decode(content, signature=signature, encoding=encoding, json_bytes=json_bytes)
    except RequestError as error:
        text = str(error)
        assert "\n" not in text
        assert len(text) < 500
        return re.sub(r"[0-9'\"].*", "", text)[:50]
    for tensor in request.inputs:
        count = 1
        for size in tensor.shape:
            count *= size
        if isinstance(tensor.data, list):
            assert len(tensor.data) == count
        else:
            assert len(tensor.data) % max(1, count) == 0
    return f"{encoding.name} {[tensor.datatype for tensor in request.inputs][:2]}"


def quick(data: bytes) -> str:
    """What replicas decode long bodies with gives what the exact decoder gives, refusals included, or declines."""
    signature, content = SIGNATURES[data[0] % 4 if data else 0], data[1:]
    document = plain_document(content)
    if document is None:
        return "declined"
    found = _request_of(lambda: from_document(document, tail=NOTHING, signature=signature))
    assert found == _request_of(lambda: decode(content, signature=signature))
    return re.sub(r"[0-9'\"].*", "", found)[:50] if isinstance(found, str) else f"{[t[1] for t in found[0]][:2]}"


def _request_of(make: Callable[[], InferRequest]) -> str | tuple[Any, ...]:
    """All that a model or a client could see of a request."""
    try:
        made = make()
    except RequestError as error:
        return str(error)
    tensors = [
        (t.name, t.datatype, t.shape, t.data if isinstance(t.data, list) else bytes(t.data)) for t in made.inputs
    ]
    return tensors, made.outputs, made.reply, made.id, made.binary, made.parameters


def proxy(data: bytes) -> str:
    """However the bytes of a user's own server arrive: the same status and body for the client, and nothing kept."""
    whole, cut = pieces(data[1:])
    method = data[0] if data else 0
    status, content, how = proxied(method, [whole])
    assert (status, content, how) == proxied(method, cut)
    return f"{method % len(ASKED)} {status[:1]!r} {bool(content)} {how}"


def upstream(data: bytes) -> str:
    """However the bytes of the gateway reach the gRPC front: the same answer, or none."""
    whole, cut = pieces(data)
    how, content = front([whole])
    assert (how, content) == front(cut)
    return f"{how} {bool(content)}"


def grpc(data: bytes) -> str:
    """A message becomes a body that decodes or is refused; a body becomes an answer or is refused."""
    choice, content = data[:1], data[1:]
    if choice > b"\x7f":
        try:
            answer = answer_of(content, content.rfind(b"}") + 1)
        except BAD_ANSWER as error:
            return f"answer: {type(error).__name__}"
        return f"answer of {min(2, len(answer.raw_output_contents))}"
    try:
        request = ModelInferRequest.FromString(content)
    except DecodeError:
        return "no message"
    head, parts, refused = b"", list[bytes](), ""
    try:
        head, parts = body_of(request)
    except BadRequestError as error:
        refused = str(error)
    assert "\n" not in refused
    if refused:
        return re.sub(r"[0-9'\"].*", "", refused)[:50]
    signature = SIGNATURES[choice[0] % 4 if choice else 0]
    try:
        found = decode(b"".join((head, *parts)), signature=signature, encoding=ENCODINGS[1], json_bytes=len(head))
    except RequestError as error:
        return re.sub(r"[0-9'\"].*", "", str(error))[:50]
    return f"{[tensor.datatype for tensor in found.inputs][:2]}"


TARGETS: dict[str, Target] = {
    "http": http,
    "frames": frames,
    "replica": replica,
    "body": body,
    "quick": quick,
    "proxy": proxy,
    "upstream": upstream,
    "grpc": grpc,
}
