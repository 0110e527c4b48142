"""A few real models as others measured them, for scenarios that have no profile of their own.

Facts, not measurements of ours: latencies come from different machines and years and must not be compared with each
other. Where no load time is published the median is taken as two seconds and the weights at 200 MB/s, a common network
disk, and loads vary around it as those of LoRA files do in a production fleet. A call of a language model is a prompt
of 512 tokens and an answer of 128.
"""

from dataclasses import dataclass

from sizewise.simulation.scenario import NOTHING, Loading
from sizewise.simulation.spread import Spread, constant

NETWORK_BYTES_PER_S = 200e6
PROCESS_S = 2.0
PROCESS_BYTES = 300_000_000
"""A framework's process before the model is in it."""

VARYING = (
    (0.01, 0.180),
    (0.05, 0.258),
    (0.1, 0.616),
    (0.25, 0.815),
    (0.5, 1.0),
    (0.75, 1.205),
    (0.9, 1.402),
    (0.95, 1.546),
    (0.99, 1.874),
)
"""(share, seconds over the median) of 27,415 loads of LoRA files, median 4.38 s, in the fleet of GenTD26."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    weights_bytes: int
    service_s: float
    cv: float = 0.2
    memory_bytes: int | None = None
    load: Spread | None = None
    warmup: Spread = NOTHING
    """Of the engine, after the weights are there."""
    source: str

    @property
    def reserved_bytes(self) -> int:
        return self.memory_bytes or PROCESS_BYTES + self.weights_bytes

    @property
    def loading(self) -> Loading:
        if self.load is not None:
            return Loading(load=self.load, warmup=self.warmup)
        read_s = self.weights_bytes / NETWORK_BYTES_PER_S
        return Loading(start=constant(PROCESS_S), fetch=Spread(tuple((q, read_s * times) for q, times in VARYING)))


def _observed(*seconds: float) -> Spread:
    """A few published times, each for an equal share of all."""
    return Spread(tuple(((i + 0.5) / len(seconds), each) for i, each in enumerate(sorted(seconds))))


_KERAS = "keras.io/api/applications: one image, Tesla K80, mean of 30"
_SWAP = "huggingface.co: one sample on a T4"
_GENTD26 = "alibaba/clusterdata GenTD26 (SoCC 2025): quantiles of a Stable Diffusion fleet"
_LLAMA_8B = (
    "tokens: shashwatj07/SageServe, 2 x A100; load of safetensors from S3, io2 and gp3 by several loaders, and until "
    "ready: run-ai/runai-model-streamer docs/src/benchmarks.md, A10G"
)
_LLAMA_70B = (
    "tokens of Llama 2 70B: shashwatj07/SageServe, 4 x H100; load and start of the engine: vllm-project/vllm issue "
    "19824"
)

CATALOG: dict[str, Entry] = {
    "mobilenet_v2": Entry(weights_bytes=14_680_064, service_s=0.04832, source=_KERAS),
    "efficientnet_b0": Entry(weights_bytes=30_408_704, service_s=0.05333, source=_KERAS),
    "densenet121": Entry(weights_bytes=34_603_008, service_s=0.07255, source=_KERAS),
    "inception_v3": Entry(weights_bytes=96_468_992, service_s=0.08106, source=_KERAS),
    "resnet50": Entry(weights_bytes=102_760_448, service_s=0.0745, source=_KERAS),
    "resnet152": Entry(weights_bytes=243_269_632, service_s=0.09762, source=_KERAS),
    "efficientnet_b7": Entry(weights_bytes=268_435_456, service_s=0.28004, source=_KERAS),
    "vgg16": Entry(weights_bytes=553_648_128, service_s=0.07801, source=_KERAS),
    "distilbert-base": Entry(weights_bytes=264_000_000, service_s=0.014, source=_SWAP),
    "bert-base": Entry(weights_bytes=440_000_000, service_s=0.02731, memory_bytes=1_370_488_832, source=_SWAP),
    "roberta-base": Entry(weights_bytes=500_000_000, service_s=0.02626, source=_SWAP),
    "stable-diffusion": Entry(
        weights_bytes=4_000_000_000,
        service_s=35.05,
        cv=0.6,
        load=Spread(
            (
                (0.01, 1.53),
                (0.05, 2.29),
                (0.1, 2.63),
                (0.25, 3.14),
                (0.5, 22.72),
                (0.75, 36.92),
                (0.9, 41.99),
                (0.95, 45.45),
                (0.99, 51.86),
            )
        ),
        source=_GENTD26,
    ),
    "llama-3-8b": Entry(
        weights_bytes=15_000_000_000,
        service_s=0.0286 + 128 * 0.00852,
        load=_observed(4.88, 7.53, 10.36, 14.34, 16.11, 37.36, 47.0, 47.99),
        warmup=_observed(15.69, 18.14, 18.3, 20.08, 20.52, 20.74, 20.75, 27.82),
        source=_LLAMA_8B,
    ),
    "llama-3.1-70b-fp8": Entry(
        weights_bytes=70_000_000_000,
        service_s=0.0597 + 128 * 0.0294,
        load=constant(10.0),
        warmup=constant(205.0),
        source=_LLAMA_70B,
    ),
}
