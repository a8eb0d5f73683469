"""Implicit rewards: what log-probabilities say of a whole completion, in nats (the temperature beta not applied)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import masked


def log_ratio_sum(
    logps: Float[Array, "P K T"], ref_logps: Float[Array, "P K T"], mask: Bool[Array, "P K T"]
) -> Float[Array, "P K"]:
    """log pi(y) - log pi_ref(y), summed over the completion. The reference is not differentiated.

    Source: Rafailov et al. 2023 (DPO, arXiv:2305.18290), eq. 5.
    """
    return masked.total(logps - jax.lax.stop_gradient(ref_logps), mask, axis=-1)


def log_ratio_mean(
    logps: Float[Array, "P K T"], ref_logps: Float[Array, "P K T"], mask: Bool[Array, "P K T"]
) -> Float[Array, "P K"]:
    """The same per token: (log pi(y) - log pi_ref(y)) / n, 0 for a completion without tokens."""
    return masked.mean(logps - jax.lax.stop_gradient(ref_logps), mask, axis=-1)


def log_odds(mean_logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(p / (1 - p)) of p = exp(x), the geometric mean of a completion's token probabilities.

    Held (without gradient) at x = -1e-7, where the odds are 1e7.

    Args:
        mean_logps: x, in nats per token. Sums, as in some implementations, make p vanish and the odds p itself.

    Source: Hong et al. 2024 (ORPO, arXiv:2403.07691), eq. 4.
    """
    x = jnp.minimum(mean_logps, -1e-7)
    return x - jax.nn.log1mexp(-x)


def overhang_discount(mask: Bool[Array, "P K T"], *, discount: float) -> Float[Array, "P K T"]:
    """Weights of tokens: 1 as far as the row's shortest completion reaches, `discount` beyond, 0 where not counted.

    Source: Liu et al. 2024 (LD-DPO, arXiv:2409.06411).
    """
    positions = jnp.cumsum(mask, axis=-1)
    shortest = jnp.min(positions[:, :, -1], axis=-1)
    return jnp.where(mask, jnp.where(positions <= shortest[:, None, None], 1.0, discount), 0.0)


def soft_values(log_normalisers: Float[Array, "*shape"], *, beta: float) -> Float[Array, "*shape"]:
    """V(s) = beta log sum_a exp(Q(s, a) / beta): what a policy's logits Q / beta say a prefix is worth.

    Logits fix Q only up to a number for every prefix, and so V.

    Args:
        log_normalisers: log-sum-exp of the logits before each token, in nats.
        beta: the temperature under which the policy is optimal.

    Source: Wang et al. 2025 (arXiv:2507.00018); Rafailov et al. 2024 (arXiv:2404.12358).
    """
    return beta * log_normalisers


def soft_rewards(
    logits: Float[Array, "P G T"], log_normalisers: Float[Array, "P G T"], mask: Bool[Array, "P G T"], *, beta: float
) -> Float[Array, "P G T"]:
    """r(s, a) = Q(s, a) - V(s'): the reward of each token for which the policy is optimal, V = 0 after the last.

    Over a completion they add up to beta log pi(y) + V(prompt). Tokens that do not count are stepped over.

    Args:
        logits: Q / beta of the given token.
        log_normalisers: as in `soft_values`.
        mask: tokens that count.
        beta: the temperature under which the policy is optimal.

    Source: as `soft_values`.
    """

    def back(following, column):
        own, value, counts = column
        return jnp.where(counts, value, following), jnp.where(counts, own - following, 0)

    columns = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), (beta * logits, beta * log_normalisers, mask))
    _, rewards = jax.lax.scan(back, jnp.zeros_like(columns[0][0]), columns, reverse=True)
    return jnp.moveaxis(rewards, 0, -1)
