"""Decoding of v2 JSON bodies to arrays, and encoding of outputs, by size; beside what was weighed instead.

One process, no sockets; medians of repeats, the ways taking turns. ``exact`` is the decoder for every body, ``quick``
the one for bodies from ``QUICK_BYTES`` on (both are timed at every size, which is what the constant rests on).

Usage: python -m benchmarks.codec [--repeats 9]
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson

from benchmarks.common import save
from sizewise.core.tensors import TensorSpec
from sizewise.protocols.frames import Encoding
from sizewise.protocols.oip import InferRequest, Signature, decode
from sizewise.protocols.oip.arrays import gather
from sizewise.protocols.oip.encode import WHOLE, Encoder
from sizewise.protocols.oip.quick import plain_document
from sizewise.protocols.oip.v2 import NOTHING, from_document

SEED = 7
BODIES: dict[str, tuple[str, tuple[int, ...], bool]] = {
    "64 floats": ("FP32", (1, 64), False),
    "100 columns": ("FP32", (1, 100), False),
    "128 tokens": ("INT64", (1, 128), False),
    "512 floats": ("FP32", (1, 512), False),
    "8 rows of 64, nested": ("FP32", (8, 64), True),
    "512 rows of 10, nested": ("FP32", (512, 10), True),
    "image 224x224x3, floats": ("FP32", (1, 224, 224, 3), False),
    "image 224x224x3, bytes": ("UINT8", (1, 224, 224, 3), False),
}
OUTPUTS = {"10 floats": (1, 10), "1000 floats": (1, 1000), "image 224x224x3": (1, 224, 224, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    draw = random.Random(SEED)
    rows = [decoding(name, *kind, draw=draw, repeats=repeats) for name, kind in BODIES.items()]
    rows += [encoding(name, shape, repeats=repeats) for name, shape in OUTPUTS.items()]
    found = {row["what"]: row for row in rows}
    image, small = found["image 224x224x3, floats"], found["64 floats"]
    figures = {
        "image_exact_to_quick": round(image["exact_us"] / image["quick_us"], 2),
        "small_exact_to_bare": round(small["exact_us"] / small["orjson_and_array_us"], 2),
    }
    save("codec", rows, note=f"medians of {repeats}, seed {SEED}, us for each request", figures=figures)


def decoding(
    name: str, datatype: str, shape: tuple[int, ...], nested: bool, *, draw: random.Random, repeats: int
) -> dict[str, Any]:
    count = int(np.prod(shape))
    whole = datatype != "FP32"
    data: Any = [draw.randrange(256) if whole else round(draw.gauss(0, 1), 6) for _ in range(count)]
    if nested:
        data = np.array(data).reshape(shape).tolist()
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
    body = orjson.dumps({"inputs": [tensor]})
    signature = Signature((TensorSpec(name="x", datatype=datatype, shape=(-1, *shape[1:])),))

    def quick() -> None:
        document = plain_document(body)
        assert document is not None
        gather(from_document(document, tail=NOTHING, signature=signature).inputs)

    def bare() -> None:
        np.array(orjson.loads(body)["inputs"][0]["data"], np.int64 if whole else np.float32)

    exact_us, quick_us, bare_us = medians_us(
        [lambda: gather(decode(body, signature=signature).inputs), quick, bare], len(body), repeats
    )
    times = {"exact_us": exact_us, "quick_us": quick_us, "orjson_and_array_us": bare_us}
    return {"what": name, "bytes": len(body), **times}


def encoding(name: str, shape: tuple[int, ...], *, repeats: int) -> dict[str, Any]:
    array = np.random.default_rng(SEED).normal(size=shape).astype(np.float32)
    encoder = Encoder("m", "1", Signature())
    request = InferRequest([], (), Encoding.V2_JSON)
    size = len(encoder.answer(request, encoder.outputs({"y": array}), WHOLE).parts[0])
    ours_us, lists_us = medians_us(
        [
            lambda: encoder.answer(request, encoder.outputs({"y": array}), WHOLE),
            lambda: orjson.dumps({"outputs": [{"name": "y", "data": array.reshape(-1).tolist()}]}),
        ],
        size,
        repeats,
    )
    return {"what": f"answer of {name}", "bytes": size, "encode_us": ours_us, "tolist_us": lists_us}


def medians_us(ways: Sequence[Callable[[], object]], size: int, repeats: int) -> list[float]:
    calls = max(2, 1_000_000 // (size + 2000))
    samples: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, found in zip(ways, samples, strict=True):
            began_s = time.perf_counter()
            for _ in range(calls):
                way()
            found.append((time.perf_counter() - began_s) / calls * 1e6)
    return [round(statistics.median(found), 2) for found in samples]


if __name__ == "__main__":
    main()
