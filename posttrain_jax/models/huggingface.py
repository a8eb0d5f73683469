"""Hugging Face folders to sharded parameters and back, without torch: the tensors' names live here and nowhere else.

Weights are stored `[out, in]` and one by one there, `[in, out]` and stacked over layers here. Ignored: buffers named
`*rotary_emb.inv_freq`, which old transformers wrote and which follow from the config. A tied checkpoint that stores
`lm_head.weight` all the same is accepted where it equals the embedding, and refused where it does not.
"""

import collections
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.errors
import jax
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jaxtyping import Array, PyTree

from posttrain_jax.models import (
    config,
    huggingface_config,
    language_model,
    lora,
    safetensors_folder,
    scalar_model,
    settings_file,
    tokenizer,
)

KeyPath = tuple[Any, ...]

TOP = {
    "embedding": "model.embed_tokens.weight",
    "final_norm": "model.norm.weight",
    "head": "lm_head.weight",
    "score": "score.weight",
    "score_bias": "score.bias",
}
BLOCK = {
    "attention_norm": "input_layernorm.weight",
    "query": "self_attn.q_proj.weight",
    "key": "self_attn.k_proj.weight",
    "value": "self_attn.v_proj.weight",
    "output": "self_attn.o_proj.weight",
    "query_bias": "self_attn.q_proj.bias",
    "key_bias": "self_attn.k_proj.bias",
    "value_bias": "self_attn.v_proj.bias",
    "output_bias": "self_attn.o_proj.bias",
    "query_norm": "self_attn.q_norm.weight",
    "key_norm": "self_attn.k_norm.weight",
    "mlp_norm": "post_attention_layernorm.weight",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
    "gate_bias": "mlp.gate_proj.bias",
    "up_bias": "mlp.up_proj.bias",
    "down_bias": "mlp.down_proj.bias",
}
TRANSPOSED = {"head", "score", "query", "key", "value", "output", "gate", "up", "down"}
FLOATS = ("F64", "F32", "F16", "BF16")


def resolve(name_or_folder: str | Path) -> Path:
    """The folder itself, or that of a hub name (`owner/model`), downloaded once: safetensors, configs, tokenizer.

    Raises:
        FileNotFoundError: it is neither a folder nor a name that the hub (or its cache, offline) knows.
    """
    if Path(name_or_folder).is_dir():
        return Path(name_or_folder)
    if str(name_or_folder).startswith((".", "/", "~")) or Path(name_or_folder).exists():
        raise FileNotFoundError(
            f"{str(name_or_folder)!r} is no folder: give that of a model (config.json, *.safetensors, a tokenizer), or"
            " a name on the hub."
        )
    try:
        found = huggingface_hub.snapshot_download(
            str(name_or_folder),
            allow_patterns=["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt"],
            ignore_patterns=["original/*", "consolidated*"],
        )
    # An HTTP error is an OSError, an invalid name a ValueError.
    except (OSError, huggingface_hub.errors.HFValidationError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileNotFoundError(
            f"{str(name_or_folder)!r} is no folder here and could not be had from the hub ({reason}); "
            "give an existing folder, or a hub name while online."
        ) from error
    return Path(found)


def load_config(folder: str | Path) -> config.ModelConfig:
    """The architecture of a checkpoint; see `huggingface_config.parse` for what is refused."""
    return huggingface_config.parse(settings_file.read(Path(folder) / "config.json"))


def load_params(folder: str | Path, model: language_model.LanguageModel | scalar_model.ScalarModel) -> PyTree[Array]:
    """The checkpoint's parameters in the model's param_dtype, each device reading its own part from disk.

    Raises:
        ValueError: tensors are missing, unexpected, of another shape or no floats; the message lists all of them.
    """
    leaves = model.abstract_params()
    with safetensors_folder.opened(Path(folder)) as tensors:
        _check(folder, model.config, tensors, leaves)

        def read(path, leaf):
            return _read([tensors[name] for name in _names(path, model.config)], path, leaf)

        return jax.tree.map_with_path(read, leaves)


def _names(path: KeyPath, model: config.ModelConfig) -> list[str]:
    """The tensors that a parameter is made of: one, or one per layer."""
    name = path[-1].key
    if len(path) == 1:
        return [TOP[name]]
    return [f"model.layers.{layer}.{BLOCK[name]}" for layer in range(model.num_layers)]


def _read(tensors: list[safetensors_folder.Tensor], path: KeyPath, leaf: jax.ShapeDtypeStruct) -> Array:
    """One parameter, put together from the slices that this process' devices hold."""
    transposed, stacked = path[-1].key in TRANSPOSED, len(path) > 1
    parts: dict[str, np.ndarray] = {}

    def read(index: Any) -> np.ndarray:
        # Devices that hold the same part ask one after the other: it is read once.
        if str(index) not in parts:
            layers, inner = (tensors[index[0]], index[1:]) if stacked else (tensors, index)
            sizes = [len(range(*cut.indices(size))) for cut, size in zip(index, leaf.shape, strict=True)]
            part = parts[str(index)] = np.empty(sizes, leaf.dtype)
            for layer, tensor in enumerate(layers):
                piece = tensor[inner[::-1]].T if transposed else tensor[inner]
                part[layer if stacked else ...] = piece  # cast layer by layer: no second copy of the whole
        return parts[str(index)]

    return jax.make_array_from_callback(leaf.shape, leaf.sharding, read)


def _check(folder, model: config.ModelConfig, tensors: Mapping[str, safetensors_folder.Tensor], leaves) -> None:
    """Compare names, shapes and dtypes with what the config needs, and name every difference in one message."""
    expected = {}
    for path, leaf in jax.tree.leaves_with_path(leaves):
        shape = leaf.shape if len(path) == 1 else leaf.shape[1:]
        shape = shape[::-1] if path[-1].key in TRANSPOSED else shape
        expected |= dict.fromkeys(_names(path, model), shape)
    faults = [f"{name} is missing" for name in expected if name not in tensors]
    for name, tensor in tensors.items():
        if name in expected and tensor.shape != expected[name]:
            faults.append(f"{name} has shape {list(tensor.shape)} where the config needs {list(expected[name])}")
        elif name in expected and tensor.dtype not in FLOATS:
            faults.append(f"{name} is {tensor.dtype}, no floating-point weight of 16 bits or more")
        elif name == TOP["head"] and model.tie_embeddings:
            if not _equal(tensor, tensors.get(TOP["embedding"])):
                faults.append(f"{name} differs from the embedding that config.json ties it to")
        elif name not in expected and not name.endswith("rotary_emb.inv_freq"):
            faults.append(f"{name} is unexpected")
    if faults:
        raise ValueError(f"{folder} does not fit its config.json: {'; '.join(faults)}.")


def _equal(first: safetensors_folder.Tensor, second: safetensors_folder.Tensor | None) -> bool:
    """Whether two matrices on disk are equal, read a thousand rows at a time."""
    if second is None or first.shape != second.shape:
        return False
    rows = first.shape[0]
    blocks = [(slice(start, min(start + 1024, rows)), slice(None)) for start in range(0, rows, 1024)]
    return all(np.array_equal(first[block], second[block]) for block in blocks)


def save(
    folder: str | Path,
    model: config.ModelConfig,
    params: PyTree[Array],
    tokenizer: tokenizer.Tokenizer | None = None,
    *,
    overwrite: bool = False,
    file_bytes: int = 4 * 1024**3,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write a folder that `transformers` loads: config, weights in the parameters' dtype, stop tokens, tokenizer.

    Sharded parameters are gathered one tensor of one layer at a time. The folder appears whole or not at all. On
    several hosts all call and the first writes.

    Args:
        tokenizer: its files and its BOS, EOS and stop ids are written; without one the folder names no such ids. For
            model_type qwen2 (q, k, v biases), transformers 5's AutoTokenizer splits text as Qwen 2 does, whatever
            tokenizer.json says: read another tokenizer from there with PreTrainedTokenizerFast.
        overwrite: whether a folder that holds something may be replaced.
        file_bytes: beyond which another safetensors file is begun.
        extra: of `config.json`, in the place of a language model's entries (`classifier.entries`).

    Raises:
        FileExistsError: the folder holds something and `overwrite` is False.
        ValueError: no Hugging Face family computes this architecture, the tokenizer has ids beyond its vocabulary, or
            the parameters hold adapters.
    """
    if lora.ADAPTERS in params:
        raise ValueError("the parameters hold adapters, which no such folder does: merge them (`LanguageModel.merge`).")
    folder, entries = Path(folder), huggingface_config.render(model) | _special_ids(tokenizer) | dict(extra or {})
    entries["torch_dtype"] = str(params["embedding"].dtype)
    if tokenizer is not None:
        tokenizer.check_vocabulary(model.vocab_size)
    # All hosts hear the first one's answer: if it alone refused, the others would wait for it for ever.
    occupied = safetensors_folder.occupied(folder) and not overwrite
    if multihost_utils.broadcast_one_to_all(np.int32(occupied)):
        raise FileExistsError(f"{folder} exists and is not empty; choose another folder, or say overwrite=True.")
    tensors = _tensors(model, params)
    if jax.process_index() == 0:
        with safetensors_folder.replacing(folder) as fresh:
            (fresh / "config.json").write_text(json.dumps(entries, indent=2) + "\n")
            safetensors_folder.write(fresh, tensors, file_bytes=file_bytes)
            if tokenizer is not None:
                tokenizer.save(fresh)
    else:
        collections.deque(tensors, maxlen=0)  # takes part in the gathering
    multihost_utils.sync_global_devices(f"saved {folder}")


def _special_ids(tokenizer: tokenizer.Tokenizer | None) -> dict[str, Any]:
    """Explicit nulls without a tokenizer: transformers' own defaults would name ids of some other vocabulary."""
    if tokenizer is None:
        return {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    bos = tokenizer.pretrained.bos_token_id
    return {"bos_token_id": bos, "eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id}


def _tensors(model: config.ModelConfig, params: PyTree[Array]) -> Iterator[tuple[str, np.ndarray]]:
    """Every tensor under its Hugging Face name, on the host, one after the other."""
    for path, leaf in jax.tree.leaves_with_path(params):
        for layer, name in enumerate(_names(path, model)):
            part = leaf if len(path) == 1 else lax.dynamic_index_in_dim(leaf, np.int32(layer), keepdims=False)
            if part.is_fully_addressable:
                tensor = np.asarray(part)
            else:
                tensor = np.asarray(multihost_utils.process_allgather(part, tiled=True))
            yield name, tensor.T if path[-1].key in TRANSPOSED else tensor
