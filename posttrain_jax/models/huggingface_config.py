"""Hugging Face's `config.json` as a `ModelConfig`, and back.

Every key is either read, known to leave the mathematics alone, or refused: a key that is skipped in silence gives wrong
logits without an error. Absent keys have the values that `transformers` gives them.
"""

from collections.abc import Mapping
from typing import Any

from posttrain_jax.models import config, rotary_entries, settings_file

Json = Mapping[str, Any]

REQUIRED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)
WINDOW = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28, "layer_types": None}
DEFAULTS: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": False, "mlp_bias": False},
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "qwen2": WINDOW,
    "qwen3": WINDOW | {"head_dim": 128, "attention_bias": False},
}
"""The keys that a family has beside the common ones, and common ones whose default it changes."""

COMMON: dict[str, Any] = {
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "attention_dropout": 0.0,
    "rope_theta": None,
    "rope_scaling": None,
    "rope_parameters": None,
    "quantization_config": None,
}
TYPES: settings_file.Types = {
    "integer": ((int,), (*REQUIRED, "num_key_value_heads", "head_dim", "sliding_window", "max_window_layers")),
    "number": ((int, float), ("rms_norm_eps", "attention_dropout", "rope_theta")),
    "boolean": ((bool,), ("tie_word_embeddings", "attention_bias", "mlp_bias", "use_sliding_window")),
    "object": ((dict,), ("rope_scaling", "rope_parameters", "quantization_config")),
    "list": ((list,), ("layer_types",)),
}
HARMLESS = {
    "model_type",
    "architectures",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "initializer_range",
    "use_cache",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "pretraining_tp",  # cuts the same products into pieces
    "_name_or_path",
    "_commit_hash",
    "is_llama_config",
    "transformers.js_config",
    "unsloth_version",
    "unsloth_fixed",
}


def parse(entries: Json) -> config.ModelConfig:
    """The architecture that `config.json` describes.

    Raises:
        ValueError: it asks for something that the decoder does not compute; the sentence names key, value and remedy.
    """
    family = entries.get("model_type")
    if family not in DEFAULTS:
        raise ValueError(f"model_type {family!r} is not supported; use a model of type {', '.join(DEFAULTS)}.")
    missing = [key for key in REQUIRED if entries.get(key) is None]
    if missing:
        raise ValueError(f"config.json does not say {', '.join(missing)}; add what the model was trained with.")
    values = {**COMMON, **DEFAULTS[family], **entries}
    settings_file.check("config.json", values, TYPES)
    _refuse_unread(family, values)
    theta, scaling = rotary_entries.parse(values)
    heads = values["num_attention_heads"]
    attention_bias = family == "qwen2" or values.get("attention_bias", False)
    return config.ModelConfig(
        vocab_size=values["vocab_size"],
        hidden_size=values["hidden_size"],
        num_layers=values["num_hidden_layers"],
        num_heads=heads,
        num_kv_heads=values["num_key_value_heads"] or heads,
        head_dim=values["head_dim"] or values["hidden_size"] // heads,
        mlp_size=values["intermediate_size"],
        norm_eps=float(values["rms_norm_eps"]),
        rope_theta=theta,
        max_position=values["max_position_embeddings"],
        rope_scaling=scaling,
        tie_embeddings=bool(values["tie_word_embeddings"]),
        attention_bias=attention_bias,
        output_bias=attention_bias and family != "qwen2",
        mlp_bias=values.get("mlp_bias", False),
        qk_norm=family == "qwen3",
        sliding_window=_sliding_window(family, values),
    )


def _refuse_unread(family: str, values: Json) -> None:
    """Refuse what changes the mathematics and is not computed. Unknown keys that are off (null, false, 0) pass."""
    if values["quantization_config"]:
        method = values["quantization_config"].get("quant_method", "an unnamed method")
        raise ValueError(f"The checkpoint is quantised ({method}); use the unquantised one.")
    if values["hidden_act"] not in ("silu", "swish"):
        raise ValueError(f"hidden_act is {values['hidden_act']!r}; only models with a SiLU-gated MLP are supported.")
    if values["attention_dropout"]:
        raise ValueError(f"attention_dropout is {values['attention_dropout']}; set it to 0: there is no dropout here.")
    known = {*REQUIRED, *COMMON, *DEFAULTS[family], *HARMLESS}
    unread = [f"{key} = {value!r}" for key, value in values.items() if key not in known and value]
    if unread:
        raise ValueError(
            f"config.json of this {family} model holds {', '.join(unread)}, which would not be computed; "
            "remove the key only if transformers ignores it too."
        )


def _sliding_window(family: str, values: Json) -> int | None:
    """The window of all layers, or None; a window on some layers only is refused."""
    if family == "llama":
        return None
    if family == "mistral":
        return values["sliding_window"]
    window = values["sliding_window"] if values["use_sliding_window"] else None
    layers, first = values["num_hidden_layers"], values["max_window_layers"]
    kinds = values["layer_types"] or [
        "sliding_attention" if window is not None and layer >= first else "full_attention" for layer in range(layers)
    ]
    if set(kinds) == {"full_attention"}:
        return None
    if set(kinds) == {"sliding_attention"} and window is not None and len(kinds) == layers:
        return window
    count = kinds.count("sliding_attention")
    raise ValueError(
        f"{count} of {layers} layers have a sliding window (of {window} tokens); "
        "use a checkpoint where all layers have one, or none."
    )


def render(model: config.ModelConfig) -> dict[str, Any]:
    """`config.json` of the first of qwen3, qwen2, llama, mistral that computes `model`; `parse` gives `model` back.

    Rotary settings are in the older layout, which transformers 4 and 5 both read.

    Raises:
        ValueError: no family computes it.
    """
    family = _family(model)
    entries: dict[str, Any] = {
        "architectures": [{"llama": "Llama", "mistral": "Mistral"}.get(family, family.title()) + "ForCausalLM"],
        "model_type": family,
        "vocab_size": model.vocab_size,
        "hidden_size": model.hidden_size,
        "intermediate_size": model.mlp_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "head_dim": model.head_dim,
        "max_position_embeddings": model.max_position,
        "hidden_act": "silu",
        "rms_norm_eps": model.norm_eps,
        "tie_word_embeddings": model.tie_embeddings,
        "attention_dropout": 0.0,
        "rope_theta": model.rope_theta,
        "rope_scaling": rotary_entries.render(model.rope_scaling),
    }
    if family in ("llama", "qwen3"):
        entries["attention_bias"] = model.attention_bias
    if family == "llama":
        entries["mlp_bias"] = model.mlp_bias
    else:
        entries["sliding_window"] = model.sliding_window
    if family in ("qwen2", "qwen3"):
        entries |= {"use_sliding_window": model.sliding_window is not None, "max_window_layers": 0}
    return entries


def _family(model: config.ModelConfig) -> str:
    same_bias = model.attention_bias == model.output_bias
    if model.qk_norm and same_bias and not model.mlp_bias:
        return "qwen3"
    if not model.qk_norm and model.attention_bias and not model.output_bias and not model.mlp_bias:
        return "qwen2"
    # transformers refuses a Llama whose heads do not divide its width, even where head_dim is given.
    even = model.hidden_size % model.num_heads == 0
    if not model.qk_norm and same_bias and model.sliding_window is None and even:
        return "llama"
    if not (model.qk_norm or model.attention_bias or model.output_bias or model.mlp_bias):
        return "mistral"
    raise ValueError(
        f"No Hugging Face family ({', '.join(DEFAULTS)}) has this combination of biases, q/k norms, head width and "
        f"sliding window: {model}; choose one that a family has before training what is to be exported."
    )
