"""Weights: how tokens and rows are averaged, decided over the whole batch before it is cut into pieces.

`loss = sum(weights * losses)` then is the mean that the name promises, whatever the micro-batches, devices, padding.
A token that must not count (of a truncated completion, of a failed reward) is left out of the mask, and so of the
denominator; to keep it in the denominator, set its weight to 0 afterwards. Completions without a counted token are in
no denominator.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax import masked
from posttrain_jax.losses import group

Average = Callable[[Bool[Array, "P G T"]], Float[Array, "P G T"]]
"""From a mask to weights: `token_mean`, `sequence_mean`, `sequence_sum`."""


def token_mean(mask: Bool[Array, "P G T"]) -> Float[Array, "P G T"]:
    """Every token alike: w = 1 / (counted tokens of the batch).

    Source: Yu et al. 2025 (DAPO, arXiv:2503.14476), eq. 12.
    """
    counted = mask.astype(jnp.float32)
    return counted / jnp.maximum(jnp.sum(counted), 1)


def sequence_mean(mask: Bool[Array, "P G T"]) -> Float[Array, "P G T"]:
    """Every completion alike, its tokens sharing: w = 1 / (N n_i), N completions with counted tokens, n_i of them in i.

    Source: Shao et al. 2024 (GRPO, arXiv:2402.03300), eq. 3.
    """
    counted = mask.astype(jnp.float32)
    lengths = jnp.sum(counted, axis=-1, keepdims=True)
    return sequence_sum(mask) / jnp.maximum(lengths, 1)


def sequence_sum(mask: Bool[Array, "P G T"]) -> Float[Array, "P G T"]:
    """Mean over completions of the sum over tokens: w = 1 / N, N completions with counted tokens."""
    counted = mask.astype(jnp.float32)
    return counted / jnp.maximum(jnp.sum(jnp.any(mask, axis=-1).astype(jnp.float32)), 1)


def fixed_length(mask: Bool[Array, "P G T"], *, length: int) -> Float[Array, "P G T"]:
    """Mean over completions of the sum over tokens, over a constant: w = 1 / (N length).

    Args:
        mask: tokens that count.
        length: a constant of the run, in tokens (the generation budget), never the padded width of a batch.

    Source: Liu et al. 2025 (Dr. GRPO, arXiv:2503.20783), section 3.2.
    """
    return sequence_sum(mask) / length


def prompt_mean(mask: Bool[Array, "P G T"], group_ids: Int[Array, "P"]) -> Float[Array, "P G T"]:
    """Every prompt alike, its tokens sharing: w = 1 / (Q n_q), Q groups with counted tokens, n_q of them in group q.

    Source: Khatri et al. 2025 (ScaleRL, arXiv:2510.13786).
    """
    counted = mask.astype(jnp.float32)
    tokens = group.total(jnp.sum(counted, axis=-1), group_ids)
    return counted / jnp.maximum(tokens * group.count(tokens > 0, group_ids), 1)[:, None, None]


def sequence_total(mask: Bool[Array, "P G T"]) -> Float[Array, "P G T"]:
    """Sum over completions of the mean over tokens: w = 1 / n_i, growing with the batch.

    Source: DCPO 2025 (arXiv:2509.02333), the "only token mean".
    """
    counted = mask.astype(jnp.float32)
    return counted / jnp.maximum(jnp.sum(counted, axis=-1, keepdims=True), 1)


def top_entropy(entropy: Float[Array, "P G T"], mask: Bool[Array, "P G T"], *, share: float) -> Float[Array, "P G T"]:
    """1 on the counted tokens whose entropy is among the highest of the batch, 0 elsewhere: to multiply weights with.

    Args:
        entropy: of the whole distribution at each token, in nats.
        mask: tokens that count.
        share: of the counted tokens to keep: those at or above the quantile 1 - share, linearly interpolated.

    Source: Wang et al. 2025 (arXiv:2506.01939).
    """
    return (mask & (entropy >= masked.quantile(entropy, mask, 1 - share))).astype(jnp.float32)


def difficulty(
    rates: Float[Array, "*shape"], *, low: float, high: float, slope: float, middle: float
) -> Float[Array, "*shape"]:
    """A weight that falls with the success rate: low + (high - low) / (1 + exp(slope (rate - middle))).

    Args:
        rates: share of correct completions of a group.
        low: the weight of easy prompts.
        high: the weight of hard ones.
        slope: how sharply it falls.
        middle: the rate at which it is halfway.

    Source: Zhang and Zuo 2025 (GRPO-LEAD, arXiv:2504.09696), as in the authors' code.
    """
    return low + (high - low) * jax.nn.sigmoid(slope * (middle - rates))


def pair_mean(mask: Bool[Array, "P K T"]) -> Float[Array, "P"]:
    """Every row alike: w = 1 / (rows all of whose completions have counted tokens), 0 on the other rows."""
    counted = jnp.all(jnp.any(mask, axis=-1), axis=-1).astype(jnp.float32)
    return counted / jnp.maximum(jnp.sum(counted), 1)
