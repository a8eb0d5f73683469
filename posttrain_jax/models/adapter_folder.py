"""Folders of adapters as Hugging Face's PEFT writes and reads them, without torch.

`adapter_config.json`, and `adapter_model.safetensors` with two tensors of each adapted module and layer:
`base_model.model.<module>.lora_A.weight` `[r, in]` and `base_model.model.<module>.lora_B.weight` `[out, r]`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import ml_dtypes  # noqa: F401  (registers bfloat16 with numpy, in which safetensors returns such tensors)
import numpy as np
import safetensors.numpy
from jax.experimental import multihost_utils
from jaxtyping import Array, Float, PyTree

from posttrain_jax.models import huggingface, language_model, lora, safetensors_folder, settings_file

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
LETTERS = {"a": "lora_A", "b": "lora_B"}
CHANGES = (
    *("use_dora", "use_qalora", "lora_bias", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "layer_replication"),
    *("modules_to_save", "layers_to_transform", "trainable_token_indices", "target_parameters"),
)
"""Entries of the config that stand for another function than ours, unless they are null, false or empty."""


def save(
    folder: str | Path,
    model: language_model.LanguageModel,
    params: PyTree[Array],
    *,
    base: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write the adapters of `params` so that PEFT loads them; the folder appears whole or not at all.

    On several hosts all call and the first writes.

    Args:
        params: with adapters; the base may be left out.
        base: folder or hub name of the base, as PEFT will look it up.
        overwrite: whether a folder that holds something may be replaced.

    Raises:
        ValueError: there are no adapters.
        FileExistsError: the folder holds something and `overwrite` is False.
    """
    folder = Path(folder)
    if model.lora is None or lora.ADAPTERS not in params:
        raise ValueError("there are no adapters to write: give the model `lora`, and parameters that `adapt` has had.")
    occupied = safetensors_folder.occupied(folder) and not overwrite
    if multihost_utils.broadcast_one_to_all(np.int32(occupied)):
        raise FileExistsError(f"{folder} exists and is not empty; choose another folder, or say overwrite=True.")
    tensors = {}
    for name, pair in params[lora.ADAPTERS].items():
        for letter, leaf in pair.items():
            names = tensor_names(name, letter, model.config.num_layers)
            tensors |= {key: np.ascontiguousarray(x.T) for key, x in zip(names, _on_host(leaf), strict=True)}
    if jax.process_index() == 0:
        with safetensors_folder.replacing(folder) as fresh:
            (fresh / CONFIG).write_text(json.dumps(_render(model.lora, base), indent=2) + "\n")
            safetensors_folder.save(tensors, fresh / TENSORS)
    multihost_utils.sync_global_devices(f"saved {folder}")


def load(
    folder: str | Path, model: language_model.LanguageModel, params: PyTree[Array]
) -> tuple[language_model.LanguageModel, PyTree[Array]]:
    """The model and its parameters with the folder's adapters.

    Args:
        model: of the base; what it says of adapters is replaced.
        params: of the base.

    Raises:
        FileNotFoundError: the folder lacks a file.
        ValueError: a file is not whole, or it holds another method than LoRA on projections, or tensors that do not
            fit the model.
    """
    folder = Path(folder)
    for name in (CONFIG, TENSORS):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{folder / name} does not exist; give a folder that PEFT's save_pretrained wrote.")
    entries = settings_file.read(folder / CONFIG)
    with safetensors_folder.whole(folder / TENSORS):
        tensors = safetensors.numpy.load_file(folder / TENSORS)
    there = [name for name in lora.PROJECTIONS if tensor_names(name, "a", 1)[0] in tensors]
    model = dataclasses.replace(model, lora=_parse(folder, entries, tuple(there)))
    wanted = model.abstract_params()[lora.ADAPTERS]
    _check(folder, wanted, tensors)

    def read(path, like: jax.ShapeDtypeStruct) -> Array:
        names = tensor_names(path[0].key, path[1].key, like.shape[0])
        stacked = np.stack([tensors[name].T.astype(like.dtype) for name in names])
        return jax.make_array_from_callback(like.shape, like.sharding, lambda index: stacked[index])

    return model, lora.base(params) | {lora.ADAPTERS: jax.tree.map_with_path(read, wanted)}


def tensor_names(projection: str, letter: str, layers: int) -> list[str]:
    """PEFT's name of one adapter matrix in every layer."""
    module = huggingface.BLOCK[projection].removesuffix(".weight")
    return [f"base_model.model.model.layers.{layer}.{module}.{LETTERS[letter]}.weight" for layer in range(layers)]


def _render(config: lora.Lora, base: str | None) -> dict[str, Any]:
    """PEFT knows the powers 1 and 0.5; another one's scale is written as LoRA's."""
    stabilised = config.rank_power == 0.5
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": config.rank,
        "lora_alpha": config.alpha if stabilised else config.scale * config.rank,
        "use_rslora": stabilised,
        "target_modules": [huggingface.BLOCK[name].split(".")[1] for name in config.projections],
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }


def _parse(folder: Path, entries: dict[str, Any], projections: tuple[str, ...]) -> lora.Lora:
    changes = [f"{name}={entries[name]}" for name in CHANGES if entries.get(name)]
    if entries.get("peft_type") != "LORA" or entries.get("bias", "none") != "none" or changes:
        told = ", ".join([f"peft_type={entries.get('peft_type')}", f"bias={entries.get('bias', 'none')}", *changes])
        raise ValueError(f"{folder / CONFIG} is not plain LoRA ({told}): merge those adapters with PEFT instead.")
    if not projections:
        raise ValueError(
            f"{folder / TENSORS} adapts none of {', '.join(lora.PROJECTIONS)} in layer 0: merge it with PEFT instead."
        )
    power = 0.5 if entries.get("use_rslora") else 1.0
    return lora.Lora(entries["r"], alpha=float(entries["lora_alpha"]), rank_power=power, projections=projections)


def _check(folder: Path, wanted: PyTree[jax.ShapeDtypeStruct], tensors: dict[str, np.ndarray]) -> None:
    """Name every difference between what is there and what the model needs in one message."""
    shapes = {}
    for path, like in jax.tree.leaves_with_path(wanted):
        names = tensor_names(path[0].key, path[1].key, like.shape[0])
        shapes |= dict.fromkeys(names, like.shape[:0:-1])
    faults = [f"{name} is missing" for name in shapes if name not in tensors]
    for name, tensor in tensors.items():
        if name not in shapes:
            faults.append(f"{name} is unexpected")
        elif tensor.shape != shapes[name]:
            faults.append(f"{name} has shape {list(tensor.shape)} where the model needs {list(shapes[name])}")
    if faults:
        raise ValueError(f"{folder / TENSORS} does not fit the model: {'; '.join(faults)}.")


def _on_host(leaf: Array) -> Float[np.ndarray, "L i o"]:
    if leaf.is_fully_addressable:
        return np.asarray(leaf)
    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
