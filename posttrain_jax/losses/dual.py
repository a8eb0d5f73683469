"""Reinforcement and imitation learning through the convex dual of a divergence (Sikchi et al. 2023, arXiv:2302.08560).

f-DVL learns values V from action values Q of given data without sampling: d = Q - V, Q not differentiated,

    chi2: lambda max(d + d^2 / 4, 0) - (1 - lambda) d        tv: lambda max(d, 0) - (1 - lambda) d
    kl: exp(d / lambda) - d / lambda - 1

Minimised over data, V moves from below towards the largest Q as lambda -> 1 (of the KL, as lambda -> 0). The policy
then imitates the data with the weights of `advantage_weights`; of whole completions `recipes.likelihood.fenchel_sft`
has the dual's own weights.

Source: the authors' code (github.com/hari-sikchi/DVL, offline/critic.py and actor.py).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax.losses import generator


def chi_squared_loss(
    action_values: Float[Array, "*shape"], values: Float[Array, "*shape"], *, mix: float
) -> Float[Array, "*shape"]:
    """lambda f*+(d) - (1 - lambda) d with f*+(d) = d + d^2 / 4 where positive, else 0.

    Differs from the authors' code: max(d + d^2 / 4, 0) turns positive again below d = -4, which the true f*+ does not.

    Args:
        action_values: Q, not differentiated.
        values: V.
        mix: lambda, between 0 and 1.
    """
    gaps = jax.lax.stop_gradient(action_values) - values
    positive = jnp.maximum(gaps, 0)
    return mix * (positive + positive**2 / 4) - (1 - mix) * gaps


def total_variation_loss(
    action_values: Float[Array, "*shape"], values: Float[Array, "*shape"], *, mix: float
) -> Float[Array, "*shape"]:
    """lambda max(d, 0) - (1 - lambda) d: V becomes the quantile of Q at (2 lambda - 1) / lambda, lambda above 1/2."""
    gaps = jax.lax.stop_gradient(action_values) - values
    return mix * jnp.maximum(gaps, 0) - (1 - mix) * gaps


def kl_loss(
    action_values: Float[Array, "*shape"], values: Float[Array, "*shape"], *, scale: float, limit: float = 5.0
) -> Float[Array, "*shape"]:
    """exp(z) - z - 1, z = min(d / lambda, limit): V becomes lambda log mean exp(Q / lambda), the soft maximum.

    Differs from the authors' code, which divides it by the largest exp(z) of the batch: rows would not add up.

    Args:
        action_values: Q, not differentiated.
        values: V.
        scale: lambda, above 0; 8 in the authors' example.
        limit: of the exponent, beyond which there is no gradient; they hold it at 5 to 7.

    Source: as above; Garg et al. 2023 (extreme Q-learning, arXiv:2301.02328).
    """
    z = jnp.minimum((jax.lax.stop_gradient(action_values) - values) / scale, limit)
    return jnp.expm1(z) - z


def advantage_weights(
    action_values: Float[Array, "*shape"], values: Float[Array, "*shape"], *, sharpness: float, limit: float = 100.0
) -> Float[Array, "*shape"]:
    """min(exp(T (Q - V)), limit): how much of each datum is imitated. No gradient.

    Args:
        action_values: Q.
        values: V.
        sharpness: T, 3 to 10 in the paper.
        limit: the largest weight.
    """
    return jax.lax.stop_gradient(jnp.minimum(jnp.exp(sharpness * (action_values - values)), limit))


def mixture_bound(
    divergence: generator.Generator,
    policy_scores: Float[Array, "N"],
    data_scores: Float[Array, "M"],
    mixed_scores: Float[Array, "L"],
    *,
    share: float,
) -> Float[Array, ""]:
    """ReCOIL: b E_pi[T] + (1 - b) E_S[T] - E_mix[f*(T)] <= D_f(b pi + (1 - b) S || mix), mix = b expert + (1 - b) S.

    The score T that maximises it makes the two equal; the policy minimises them. No term asks that S covers the
    expert.

    Args:
        divergence: f.
        policy_scores: T of completions of the policy.
        data_scores: T of completions of other data S.
        mixed_scores: T of completions of the mixture of expert and S.
        share: b, of the policy and of the expert.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share}: the policy's share of the mixture is above 0 and at most 1.")
    mean = share * jnp.mean(policy_scores) + (1 - share) * jnp.mean(data_scores)
    return mean - jnp.mean(divergence.conjugate(mixed_scores))
