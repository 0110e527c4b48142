"""The same frames come out however a socket cuts the bytes, and large bodies lie where a model can read them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.protocols.frames import HEADER_BYTES, Frame, FrameError, Kind, encode
from sizewise.replica.receiving import ALIGNMENT, BUFFER_BYTES, LARGE_BYTES, Receiver

SIZES = st.sampled_from([0, 1, 300, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1, BUFFER_BYTES, 3 * BUFFER_BYTES])


def fed(receiver, data, most):
    """Write as a socket would: never more than there is room for, nor than ``most``."""
    found, sent = [], 0
    while sent < len(data):
        room = receiver.room()
        count = min(len(room), most, len(data) - sent)
        room[:count] = data[sent : sent + count]
        sent += count
        found += receiver.filled(count)
    return found


def frame(number, size, json_bytes=0, target=b"m@1"):
    body = bytes((number + i) % 251 for i in range(256)) * (size // 256 + 1)
    return Frame(kind=Kind.INFER, request_id=number, body=body[:size], target=target, json_bytes=json_bytes)


@given(st.lists(SIZES, min_size=1, max_size=5), st.sampled_from([37, 4096, 70_000, 1 << 20]))
def test_any_cut(sizes, most):
    frames = [frame(number, size, json_bytes=min(size, 7 * number)) for number, size in enumerate(sizes)]
    found = fed(Receiver(), b"".join(map(encode, frames)), most)
    assert [(f.request_id, f.target, f.json_bytes, bytes(f.body)) for f in found] == [
        (f.request_id, f.target, f.json_bytes, f.body) for f in frames
    ]


@pytest.mark.parametrize("json_bytes", [0, 1, 63, 64, 131])
def test_raw_tensors_of_large_bodies_are_aligned(json_bytes):
    (found,) = fed(Receiver(), encode(frame(1, 2 * BUFFER_BYTES, json_bytes)), 1 << 20)
    assert np.frombuffer(found.body[json_bytes:], np.uint8).ctypes.data % ALIGNMENT == 0


def test_a_header_over_the_limit_takes_no_memory():
    receiver = Receiver(max_body_bytes=LARGE_BYTES)
    with pytest.raises(FrameError, match="over the limit"):
        fed(receiver, encode(frame(1, LARGE_BYTES + 1))[:HEADER_BYTES], 1 << 20)


def test_large_bodies_of_two_requests_do_not_share_memory():
    receiver = Receiver()
    first, second = fed(receiver, encode(frame(1, LARGE_BYTES)) + encode(frame(2, LARGE_BYTES)), 1 << 20)
    assert bytes(first.body) != bytes(second.body)
