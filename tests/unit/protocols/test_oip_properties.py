"""Whatever is sent: a request or a RequestError, and what was sent comes through with its bits."""

from math import prod

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sizewise.core.tensors import DATATYPE_BYTES, TensorSpec
from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip import InferRequest, RequestError, Signature, decode
from sizewise.protocols.oip.arrays import DTYPES, gather
from sizewise.protocols.oip.encode import WHOLE, Encoder

JSON_DATATYPES = sorted(set(DATATYPE_BYTES) - {"FP16", "BF16", "BYTES"})
shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)


def arrays(datatype):
    finite = hnp.from_dtype(DTYPES[datatype], allow_nan=False, allow_infinity=False)
    return hnp.arrays(DTYPES[datatype], shapes, elements=finite)


def signature_of(datatype, rank):
    return Signature((TensorSpec(name="x", datatype=datatype, shape=(-1,) * rank),))


def body_of(datatype, array, **fields):
    return orjson.dumps(
        {"inputs": [{"name": "x", "datatype": datatype, "shape": array.shape, **fields}]},
        option=orjson.OPT_SERIALIZE_NUMPY,
    )


@given(st.sampled_from(JSON_DATATYPES).flatmap(lambda d: st.tuples(st.just(d), arrays(d))), st.booleans())
def test_json_round_trip(drawn, nested):
    datatype, array = drawn
    data = array if nested else array.reshape(-1)
    request = decode(body_of(datatype, array, data=data), signature=signature_of(datatype, array.ndim))
    back = gather(request.inputs)
    assert back.dtype == array.dtype
    # JSON has no negative zero for whole numbers, so values and not bits
    assert np.array_equal(back, array)


@given(st.sampled_from(sorted(DTYPES)).flatmap(lambda d: st.tuples(st.just(d), shapes, st.binary())))
def test_binary_round_trip(drawn):
    datatype, shape, noise = drawn
    if datatype == "BYTES":
        elements = [noise[i:] for i in range(prod(shape))]
        raw = b"".join(len(e).to_bytes(4, "little") + e for e in elements)
    else:
        raw = np.resize(np.frombuffer(noise or b"\0", np.uint8), prod(shape) * DTYPES[datatype].itemsize).tobytes()
        raw = bytes(byte & 1 for byte in raw) if datatype == "BOOL" else raw
    head = body_of(datatype, np.empty(shape, "u1"), parameters={"binary_data_size": len(raw)})
    request = decode(
        head + raw, signature=signature_of(datatype, len(shape)), encoding=Encoding.V2_BINARY, json_bytes=len(head)
    )
    array = gather(request.inputs)
    assert array.shape == shape
    encoder = Encoder("m", "1", Signature((), (TensorSpec(name="x", datatype=datatype, shape=(-1,) * len(shape)),)))
    answer = encoder.answer(InferRequest([], (), Encoding.V2_JSON, binary=True), encoder.outputs({"x": array}), WHOLE)
    assert bytes(answer.parts[1]) == raw
    assert orjson.loads(answer.parts[0])["outputs"][0]["datatype"] == datatype


VALID = body_of("FP32", np.empty((2, 2)), data=[1, 2, 3, 4])
HEAD = body_of("FP32", np.empty((2, 2)), parameters={"binary_data_size": 16})
ENCODINGS = st.sampled_from([*Encoding, 99])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["x", "y"]) | json_values,
        "datatype": st.sampled_from(sorted(DATATYPE_BYTES)) | json_values,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | json_values,
        "data": st.lists(st.floats(allow_nan=False), max_size=6) | json_values,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 20) | json_values}),
    },
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "inputs": st.lists(entries, max_size=3) | json_values,
        "outputs": st.lists(entries, max_size=2) | json_values,
        "instances": st.lists(json_values, max_size=3) | json_values,
        "parameters": json_values,
        "id": json_values,
    },
)
signatures = st.sampled_from(
    [
        Signature(),
        signature_of("FP32", 2),
        Signature(tuple(TensorSpec(name=n, datatype=d, shape=(-1, 2)) for n, d in (("x", "BYTES"), ("y", "INT64")))),
        Signature((TensorSpec(name="x", datatype="FP64", shape=(-1, 2)),), casts=True, batchable=True),
    ]
)


def survives(text, signature, encoding, json_bytes=0):
    try:
        request = decode(text, signature=signature, encoding=encoding, json_bytes=json_bytes)
    except RequestError as error:
        refusal = error
    else:
        for tensor in request.inputs:
            assert gather([tensor]).shape == tensor.shape
        return
    assert "\n" not in str(refusal)
    assert refusal.status == 400


@given(documents, signatures, ENCODINGS, st.binary(max_size=24))
def test_hostile_documents(document, signature, encoding, tail):
    text = orjson.dumps(document)
    survives(text + (tail if encoding == Encoding.V2_BINARY else b""), signature, encoding, len(text))


@given(st.binary(max_size=200), signatures, ENCODINGS, st.integers(0, 2**32 - 1))
def test_noise(text, signature, encoding, json_bytes):
    survives(text, signature, encoding, json_bytes)


@pytest.mark.parametrize(("whole", "json_bytes"), [(VALID, 0), (HEAD + bytes(16), len(HEAD))])
def test_every_truncation_is_refused(whole, json_bytes):
    encoding = Encoding.V2_BINARY if json_bytes else Encoding.V2_JSON
    decode(whole, signature=signature_of("FP32", 2), encoding=encoding, json_bytes=json_bytes)
    for end in range(len(whole)):
        with pytest.raises(RequestError):
            decode(whole[:end], signature=signature_of("FP32", 2), encoding=encoding, json_bytes=min(end, json_bytes))


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_gathering_is_concatenation(counts):
    parts = [np.arange(n * 3, dtype=np.float32).reshape(n, 3) + i for i, n in enumerate(counts)]
    tensors = [decode(body_of("FP32", part, data=part), signature=signature_of("FP32", 2)).inputs[0] for part in parts]
    assert np.array_equal(gather(tensors), np.concatenate(parts))
