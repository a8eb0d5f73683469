"""Preferences between embeddings of completions: skew-symmetric scores, which may run in circles.

Source: Zhang et al. 2024 (GPM, arXiv:2410.02197).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def preference(
    first: Float[Array, "*shape d"],
    second: Float[Array, "*shape d"],
    scales: Float[Array, "*shape k"] | None = None,
) -> Float[Array, "*shape"]:
    """s(i > j) = sum_l lambda_l (v_i[2l] v_j[2l+1] - v_i[2l+1] v_j[2l]), in nats: the log-odds that i is preferred.

    s(j > i) = -s(i > j), s(i > i) = 0. With d = 2 and v = [r, c] it is c (r_i - r_j): Bradley and Terry.

    Args:
        first: v_i, of an even number of entries d = 2k.
        second: v_j.
        scales: lambda, of `scales_of` the prompt; None for 1.

    Raises:
        ValueError: d is odd.
    """
    if first.shape[-1] % 2:
        raise ValueError(f"an embedding of {first.shape[-1]} numbers has no pairs to turn: give the head an even size.")
    turned = first[..., ::2] * second[..., 1::2] - first[..., 1::2] * second[..., ::2]
    return jnp.sum(turned if scales is None else scales * turned, axis=-1)


def unit(embeddings: Float[Array, "*shape d"], *, eps: float = 1e-12) -> Float[Array, "*shape d"]:
    """v / sqrt(|v|^2 + eps): of length 1, and 0 (with a finite gradient) where v is 0."""
    return embeddings * jax.lax.rsqrt(jnp.sum(embeddings**2, axis=-1, keepdims=True) + eps)


def scales_of(gates: Float[Array, "P k"], *, width: int) -> Float[Array, "P k"]:
    """lambda = k softmax(g / sqrt(D)) of each prompt: their mean is 1.

    Args:
        gates: g, what the gate says of the prompts.
        width: D, of the hidden states.
    """
    return gates.shape[-1] * jax.nn.softmax(gates / width**0.5, axis=-1)
