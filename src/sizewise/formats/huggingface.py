"""A Hugging Face folder: config.json, safetensors in one or more shards, tokenizer and vocabulary beside them."""

import json
from pathlib import Path

from sizewise.formats.confine import Source, member_path
from sizewise.formats.found import FormatError, Found, UnsafeError, Weights, as_mapping, shown
from sizewise.formats.safetensors_file import NOTE, tensor_weights

CONFIG = "config.json"
_JSON_MAX_BYTES = 64 * 1024**2


def is_huggingface(files: tuple[str, ...]) -> bool:
    return CONFIG in files and any(_is_shard(name) for name in files)


def read_huggingface(folder: Path, files: tuple[str, ...]) -> Found:
    """Weights of all shards. Raises FormatError for a shard that the index names and the folder lacks."""
    config = as_mapping(_json(folder, CONFIG), CONFIG)
    shards = {name for name in files if _is_shard(name)}
    for name in files:
        if name.endswith(".safetensors.index.json") and "/" not in name:
            index = as_mapping(as_mapping(_json(folder, name), name).get("weight_map"), "weight_map")
            missing = sorted({str(shard) for shard in index.values()} - shards)
            if missing:
                raise FormatError(f"lacks the shard {shown(missing[0])} that {name} names", "download it again, whole")
    weights = Weights()
    for name in sorted(shards):
        with Source(member_path(folder, name)) as source:
            try:
                weights.merge(tensor_weights(source))
            except UnsafeError:
                raise
            except FormatError as error:
                raise FormatError(f"has a shard {shown(name)} that {error.problem}", error.advice) from error
    kind = str(config.get("model_type", "unknown"))[:60]
    return Found(
        format="huggingface",
        platform="huggingface_safetensors",
        runtime=None,
        parameters=weights.parameters,
        weight_bytes=weights.by_datatype(),
        notes=(f"model_type {kind}, {len(shards)} shards", NOTE),
    )


def _is_shard(name: str) -> bool:
    return name.endswith(".safetensors") and "/" not in name


def _json(folder: Path, name: str) -> object:
    with Source(member_path(folder, name)) as source:
        if source.size > _JSON_MAX_BYTES:
            raise FormatError(f"has a {name} of {source.size} bytes")
        try:
            return json.loads(source.read(0, source.size))
        except (ValueError, RecursionError) as error:
            raise FormatError(f"has a damaged {name}") from error
