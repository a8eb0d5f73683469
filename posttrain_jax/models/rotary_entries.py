"""Rotary settings as `config.json` holds them, and back."""

from collections.abc import Mapping
from typing import Any

from posttrain_jax.models import config, settings_file

Scaling = config.Llama3Scaling | config.LinearScaling

TYPES: settings_file.Types = {
    "text": ((str,), ("type", "rope_type")),
    "number": ((int, float), ("rope_theta", "factor", "low_freq_factor", "high_freq_factor")),
    "integer": ((int,), ("original_max_position_embeddings",)),
}
"""What JSON must hold where a key is not null."""


def parse(values: Mapping[str, Any]) -> tuple[float, Scaling | None]:
    """Base and scaling, from `rope_scaling` beside `rope_theta` (transformers 4) or `rope_parameters` (5).

    Raises:
        ValueError: the two differ, or hold what is not computed.
    """
    old, new = values["rope_scaling"] or {}, values["rope_parameters"] or {}
    if old and new and old != new:
        raise ValueError("config.json holds both rope_scaling and rope_parameters, and they differ; remove one.")
    rope = dict(new or old)
    settings_file.check("the rotary scaling of config.json", rope, TYPES)
    legacy_kind = rope.pop("type", "default")
    kind = rope.pop("rope_type", legacy_kind)
    theta = rope.pop("rope_theta", None) or values["rope_theta"] or 10000.0
    scaling = _scaling(kind, rope, values["max_position_embeddings"])
    unread = [f"{key} = {value!r}" for key, value in rope.items() if value not in (None, 1.0)]
    if unread:
        raise ValueError(f"Rotary scaling {kind!r} with {', '.join(unread)} is not supported; use another checkpoint.")
    return float(theta), scaling


def _scaling(kind: str, rope: dict[str, Any], longest: int) -> Scaling | None:
    """The scaling of this kind; what it reads is taken out of `rope`."""
    keys = {"default": (), "linear": ("factor",), "llama3": ("factor", "low_freq_factor", "high_freq_factor")}
    if kind not in keys:
        raise ValueError(f"Rotary scaling {kind!r} is not supported; use a model with {', '.join(keys)} scaling.")
    absent = [key for key in keys[kind] if key not in rope]
    if absent:
        raise ValueError(f"Rotary scaling {kind!r} lacks {', '.join(absent)}; add what the model was trained with.")
    factors = [float(rope.pop(key)) for key in keys[kind]]
    match kind:
        case "linear":
            return config.LinearScaling(factor=factors[0])
        case "llama3":
            return config.Llama3Scaling(
                factor=factors[0],
                low_freq_factor=factors[1],
                high_freq_factor=factors[2],
                original_max_position=rope.pop("original_max_position_embeddings", longest),
            )
        case _:
            return None


def render(scaling: Scaling | None) -> dict[str, Any] | None:
    """`rope_scaling` in the older layout, which transformers 4 and 5 both read."""
    match scaling:
        case None:
            return None
        case config.LinearScaling(factor):
            return {"rope_type": "linear", "factor": factor}
        case config.Llama3Scaling():
            return {
                "rope_type": "llama3",
                "factor": scaling.factor,
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_max_position,
            }
