"""The quick decoder gives what the exact one gives, or leaves the body to it."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizewise.core.tensors import DATATYPE_BYTES, TensorSpec
from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip import RequestError, Signature, decode
from sizewise.protocols.oip.quick import QUICK_BYTES, plain_document
from sizewise.protocols.oip.quick import decode as quick_decode
from sizewise.protocols.oip.v2 import NOTHING, from_document
from tests.unit.protocols.test_oip_properties import JSON_DATATYPES, arrays, body_of, documents, signatures

pytest.importorskip("simdjson")


def outcome(make):
    """Everything about a request that a model or a client could see."""
    try:
        request = make()
    except RequestError as error:
        return str(error)
    tensors = [
        (t.name, t.datatype, t.shape, t.data if t.datatype == "BYTES" else bytes(t.data)) for t in request.inputs
    ]
    return tensors, request.outputs, request.reply, request.id, request.binary, request.parameters


def same(body, signature):
    """Whether the quick decoder took it; what it took must come out as the exact one has it."""
    document = plain_document(body)
    if document is not None:
        quick = outcome(lambda: from_document(document, tail=NOTHING, signature=signature))
        assert quick == outcome(lambda: decode(body, signature=signature))
    return document is not None


def entry(data, datatype="FP32", shape="[2]", more=""):
    text = '{"inputs":[{"name":"x","datatype":"%s","shape":%s,"data":%s%s}]}'
    return (text % (datatype, shape, data, more)).encode()


@given(st.sampled_from(JSON_DATATYPES).flatmap(lambda d: st.tuples(st.just(d), arrays(d))), st.booleans())
def test_arrays(drawn, nested):
    datatype, array = drawn
    body = body_of(datatype, array, data=array if nested else array.reshape(-1))
    signature = Signature((TensorSpec(name="x", datatype=datatype, shape=(-1,) * array.ndim),))
    taken = same(body, signature)
    assert taken == (datatype != "BOOL" and (not nested or array.ndim <= 2))


@given(documents, signatures)
def test_hostile_documents(document, signature):
    same(orjson.dumps(document), signature)


numbers = st.integers(-(2**65), 2**65).map(str) | st.floats(allow_nan=False, allow_infinity=False).map(repr)
words = numbers | st.sampled_from(
    ["-0", "1e400", "1e-400", "3.5e38", "3.4028235677973366e38", "true", "null", '"a"', "[]"]
)


@given(st.sampled_from(sorted(DATATYPE_BYTES)), st.lists(words, max_size=4), signatures)
def test_words_as_elements(datatype, found, signature):
    same(entry(f"[{','.join(found)}]", datatype, f"[{len(found)}]"), Signature())
    same(entry(f"[{','.join(found)}]", datatype, f"[1,{len(found)}]"), signature)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(entry("[[1,2,3],[4]]", shape="[2,2]"), id="rows of different lengths"),
        pytest.param(entry("[[1],2]"), id="a list among numbers"),
        pytest.param(entry("[1,[2]]"), id="a list after a number"),
        pytest.param(entry("[[[1],2],[3,4]]", shape="[2,2]"), id="a list too deep"),
        pytest.param(entry("[[[],2],[3,[4,1]]]", shape="[2,2]"), id="as many elements, elsewhere"),
        pytest.param(entry("[1,true]"), id="true among numbers"),
        pytest.param(entry("[1e39,1]"), id="beyond FP32"),
        pytest.param(entry("[300,1]", "UINT8"), id="beyond UINT8"),
        pytest.param(entry("[-1,1]", "UINT64"), id="below UINT64"),
        pytest.param(entry("[1.0,1]", "INT32"), id="a float among integers"),
        pytest.param(entry("[1,2]", more=',"data":[3,4]'), id="data twice"),
        pytest.param(entry("[1,2]", more=',"note":"["'), id="a bracket in a text"),
        pytest.param(entry("[1,2]")[:-1] + b',"inputs":[]}', id="inputs twice"),
        pytest.param(b"\xef\xbb\xbf" + entry("[1,2]"), id="a byte order mark"),
        pytest.param(entry("[1,123456789012345678901234567890]"), id="an integer beyond 64 bits"),
        pytest.param(entry("[1,2]").replace(b'"x"', b'"\xff"'), id="no UTF-8"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b"{}", id="no inputs"),
        pytest.param(b"{", id="cut off"),
    ],
)
def test_left_to_the_exact_decoder(body):
    assert plain_document(body) is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(entry("[1,2.5]"), id="flat"),
        pytest.param(entry("[[1,2],[3,4]]", shape="[2,2]"), id="rows"),
        pytest.param(entry("[]", shape="[1,0]"), id="no elements"),
        pytest.param(entry("[1,2]", more=',"parameters":{"a":1}'), id="parameters"),
        pytest.param(entry("[1,2]")[:-1] + b',"id":"7","parameters":{"timeout":5},"outputs":[{"name":"y"}]}', id="all"),
        pytest.param(entry("[1,2,3]"), id="too many: refused in the same words"),
        pytest.param(entry("[1,2]", "FP16"), id="no JSON form: refused in the same words"),
        pytest.param(entry("[18446744073709551615,0]", "UINT64"), id="the largest integer"),
    ],
)
def test_taken(body):
    assert same(body, Signature())


def test_long_bodies_take_the_quick_way():
    count = QUICK_BYTES
    body = entry(str([1.5] * count), shape=f"[{count}]")
    request = quick_decode(body, signature=Signature(), encoding=Encoding.V2_JSON, json_bytes=0)
    assert type(request.inputs[0].data) is memoryview
    refused = body.replace(b"1.5", b"tru", 1)
    with pytest.raises(RequestError, match="not JSON"):
        quick_decode(refused, signature=Signature(), encoding=Encoding.V2_JSON, json_bytes=0)
