"""Sampled estimators of KL(policy || ref) from the tokens that the policy sampled, d = log ref - log policy, in nats.

An estimator whose value is right need not have the right gradient, so the name says which of the two is meant:
`*_value` carries no gradient (for rewards and reports), `*_loss` is to be minimised. The k1 estimator has no loss form:
its gradient, that of the log-probability, is zero in expectation whatever the reference.

Tokens are taken one by one: expectations are over the next token given the prefix, the prefix not being differentiated.

Source: Schulman 2020 (joschu.net/blog/kl-approx.html); gradients: Tang and Munos 2025 (arXiv:2506.09477).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax.losses import ratio


def k1_value(logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """-d: unbiased, of either sign. As a penalty in the reward it gives the exact gradient of the sequence's KL."""
    return jax.lax.stop_gradient(logps - ref_logps)


def k2_loss(logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """d^2 / 2: a biased value whose expected gradient is exactly that of KL(policy || ref)."""
    return (logps - jax.lax.stop_gradient(ref_logps)) ** 2 / 2


def k3_loss(logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """exp(d) - d - 1: unbiased and never negative; its expected gradient is that of KL(ref || policy) instead.

    Log-ratios are held within `ratio.LIMIT`, beyond which there is no gradient.

    Source: Shao et al. 2024 (GRPO, arXiv:2402.03300), eq. 4.
    """
    d = jnp.clip(jax.lax.stop_gradient(ref_logps) - logps, -ratio.LIMIT, ratio.LIMIT)
    return jnp.expm1(d) - d


def k3_weighted_loss(
    logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"], log_ratios: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """r k3 with r = policy / old, differentiated as a whole: value and expected gradient of KL(policy || ref).

    Where `k3_loss` is neither right off policy in value nor on policy in gradient, this is both, also on tokens of an
    older policy.

    Args:
        logps: of the policy.
        ref_logps: of the reference.
        log_ratios: log policy / old of each token, in nats, from `ratio.token`: differentiable, also on policy.

    Source: DeepSeek-AI 2025 (DeepSeek-V3.2, arXiv:2512.02556).
    """
    return ratio.exp(log_ratios) * k3_loss(logps, ref_logps)


def k3_straight_through_loss(
    logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """The value of k3 with the gradient of k2: unbiased in value, and in gradient on policy."""
    k2, k3 = k2_loss(logps, ref_logps), k3_loss(logps, ref_logps)
    return k2 + jax.lax.stop_gradient(k3 - k2)


def absolute_loss(logps: Float[Array, "*shape"], ref_logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """|d|: holds every token back alike; its gradient is 0 where policy and reference agree exactly."""
    d = logps - jax.lax.stop_gradient(ref_logps)
    return d * jax.lax.stop_gradient(jnp.sign(d))  # jnp.abs has the gradient 1 at 0
