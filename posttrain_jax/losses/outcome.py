"""What is said of whole completions by a model that says numbers after every token: those after the last one."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def last(mask: Bool[Array, "P G T"]) -> Bool[Array, "P G T"]:
    """True at the last counted token of each completion, nowhere in one without."""
    return mask & (jnp.cumsum(mask[..., ::-1], axis=-1)[..., ::-1] == 1)


def at_end(tokens: Float[Array, "P G T d"], mask: Bool[Array, "P G T"]) -> Float[Array, "P G d"]:
    """The d numbers after each completion's last counted token; 0 of a completion without one."""
    return jnp.sum(jnp.where(last(mask)[..., None], tokens, 0), axis=2)


def placed(values: Float[Array, "P G d"], mask: Bool[Array, "P G T"]) -> Float[Array, "P G T d"]:
    """The inverse: `values` at each completion's last counted token, 0 elsewhere."""
    return jnp.where(last(mask)[..., None], values[:, :, None], 0)


def uncentred(*rewards: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """(r_1 + r_2 + ...)^2: Bradley and Terry leave the sum of a pair's rewards open; this holds it near 0.

    Source: Eisenstein et al. 2023, arXiv:2312.09244, as in TRL.
    """
    return sum(rewards[1:], start=rewards[0]) ** 2


def combined(rewards: Float[Array, "*shape d"], weights: Float[Array, "*shape d"]) -> Float[Array, "*shape"]:
    """sum_k w_k r_k: several numbers as one reward, the weights fixed or a gate's (`gate`)."""
    return jnp.sum(weights * rewards, axis=-1)


def gate(logits: Float[Array, "P d"]) -> Float[Array, "P d"]:
    """softmax(g(prompt)): how much each of d numbers counts after this prompt; they sum to 1.

    Source: Wang et al. 2024 (ArmoRM, arXiv:2406.12845).
    """
    return jax.nn.softmax(logits, axis=-1)


def cross_entropy(logits: Float[Array, "*shape"], targets: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """-q log sigmoid(z) - (1 - q) log sigmoid(-z); of a soft target q the least is its entropy, at z = log(q/(1-q)).

    Args:
        logits: z, in nats.
        targets: q, between 0 and 1; without gradient.
    """
    targets = jax.lax.stop_gradient(targets)
    return -targets * jax.nn.log_sigmoid(logits) - (1 - targets) * jax.nn.log_sigmoid(-logits)
