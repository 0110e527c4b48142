"""Frame protocol v1: whatever the pieces in which it arrives, and whatever is wrong with it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.protocols.frames import (
    HEADER_BYTES,
    MAX_TARGET_BYTES,
    Decoder,
    Encoding,
    Flag,
    Frame,
    FrameError,
    Kind,
    encode,
    encode_head,
)

LIMIT = 1000

bodies = st.binary(max_size=LIMIT)
frames = st.builds(
    lambda body, share, **fields: Frame(body=body, json_bytes=int(share * len(body)), **fields),
    body=bodies,
    share=st.floats(0, 1),
    kind=st.sampled_from(list(Kind)),
    request_id=st.integers(0, 2**64 - 1),
    target=st.binary(max_size=64),
    encoding=st.sampled_from(list(Encoding)),
    flags=st.sampled_from([0, int(Flag.LEAD), int(Flag.ALONE), int(Flag.LEAD | Flag.ALONE)]),
    deadline_ns=st.integers(0, 2**64 - 1),
    status=st.integers(0, 999),
    batch=st.integers(0, 2**16 - 1),
)


def fed(decoder: Decoder, pieces: list[bytes]) -> list[Frame]:
    return [frame for piece in pieces for frame in decoder.feed(piece)]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(marks)]


@given(st.lists(frames, max_size=5), st.lists(st.integers(0, 10_000), max_size=8))
def test_what_was_sent_arrives_however_it_is_cut(sent: list[Frame], places: list[int]) -> None:
    decoder = Decoder(LIMIT)
    got = fed(decoder, cut(b"".join(encode(frame) for frame in sent), places))
    assert [encode(frame) for frame in got] == [encode(frame) for frame in sent]
    assert decoder.pending_bytes == 0


@given(frames, st.data())
def test_a_truncated_frame_waits_and_holds_no_more_than_came(frame: Frame, data: st.DataObject) -> None:
    whole = encode(frame)
    end = data.draw(st.integers(0, len(whole) - 1))
    decoder = Decoder(LIMIT)
    assert fed(decoder, [whole[:end]]) == []
    assert decoder.pending_bytes == end
    assert [encode(got) for got in fed(decoder, [whole[end:]])] == [whole]


@given(st.binary(min_size=HEADER_BYTES, max_size=200))
def test_noise_is_refused_or_waited_for_and_raises_nothing_else(noise: bytes) -> None:
    decoder = Decoder(LIMIT)
    try:
        got = fed(decoder, [noise])
    except FrameError:
        return
    assert all(len(frame.body) <= LIMIT for frame in got)
    assert decoder.pending_bytes <= len(noise)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        pytest.param(encode_head(Frame(Kind.INFER, 1, body=bytes(LIMIT + 1))), "over the limit", id="body too large"),
        pytest.param(
            encode_head(Frame(Kind.INFER, 1, target=bytes(MAX_TARGET_BYTES + 1)))[:HEADER_BYTES],
            "target",
            id="target too long",
        ),
        pytest.param(b"XX" + encode(Frame(Kind.INFER, 1))[2:], "starts with", id="another protocol"),
        pytest.param(b"SZ\x09" + encode(Frame(Kind.INFER, 1))[3:], "protocol 9", id="another version"),
        pytest.param(b"SZ\x01\xff" + encode(Frame(Kind.INFER, 1))[4:], "kind", id="unknown kind"),
        pytest.param(encode(Frame(Kind.INFER, 1, body=b"{}", json_bytes=3)), "JSON", id="JSON part beyond the body"),
    ],
)
def test_what_is_wrong_shows_before_a_body_is_buffered(header: bytes, said: str) -> None:
    decoder = Decoder(LIMIT)
    with pytest.raises(FrameError, match=said):
        fed(decoder, [header[:HEADER_BYTES]])
    assert decoder.pending_bytes <= HEADER_BYTES
