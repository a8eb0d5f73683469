"""Limits on a number of the whole batch, kept by a penalty, and the divergences that are limited.

A penalty of a mean does not add over rows. Its gradient does: `pressure` of the mean, known before the update, times
the gradient of the mean.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax.losses import ratio

Drift = Callable[[Float[Array, "P G T"]], Float[Array, "P G T"]]
"""From log-ratios to a divergence by token: `drift_k1` or `drift_k3`."""


def drift_k1(log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log old / policy: KL(old || policy) by tokens of the old policy, unbiased in value and in gradient.

    The estimator that is useless as a loss against a reference is right here, where the first of the two sampled.
    """
    return -log_ratios


def drift_k3(log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """r - 1 - log r with r = policy / old: the same expectation and gradient as `drift_k1`, and never negative.

    Log-ratios are held within `ratio.LIMIT`, beyond which there is no gradient.
    """
    held = jnp.clip(log_ratios, -ratio.LIMIT, ratio.LIMIT)
    return jnp.expm1(held) - held


def squared_excess(x: Float[Array, ""], *, limit: float, coef: float) -> Float[Array, ""]:
    """The penalty (coef / 2) max(x - limit, 0)^2.

    Source: Li et al. 2025 (DisCO, arXiv:2505.12366), as in the authors' code; the paper's penalty has no 1/2.
    """
    return coef / 2 * jnp.maximum(x - limit, 0) ** 2


def pressure(x: Float[Array, ""], *, limit: float, coef: float) -> Float[Array, ""]:
    """The derivative of `squared_excess`, coef max(x - limit, 0), itself without a gradient."""
    return jax.lax.stop_gradient(coef * jnp.maximum(x - limit, 0))
