"""Links: losses of a margin between two rewards (chosen less rejected, times beta), one per pair."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LIMIT = 30.0
"""Nats beyond which an exponential is held constant."""


def logistic(
    margins: Float[Array, "*shape"], *, label_noise: float | Float[Array, "*shape"] = 0.0
) -> Float[Array, "*shape"]:
    """-(1 - e) log sigmoid(m) - e log sigmoid(-m): the negative log-likelihood of Bradley and Terry.

    Args:
        margins: in nats.
        label_noise: e, the probability that a label is the wrong way round, of all or of each; the best margin is then
            log((1 - e) / e).

    Source: Rafailov et al. 2023 (DPO, arXiv:2305.18290), eq. 7; with noise: Mitchell 2023 (cDPO).
    """
    return -(1 - label_noise) * jax.nn.log_sigmoid(margins) - label_noise * jax.nn.log_sigmoid(-margins)


def squared(margins: Float[Array, "*shape"], *, target: float) -> Float[Array, "*shape"]:
    """(m - target)^2, not halved.

    Source: Azar et al. 2023 (IPO, arXiv:2310.12036), eq. 17.
    """
    return (margins - target) ** 2


def hinge(margins: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """max(0, 1 - m).

    Source: Liu et al. 2023 (RSO, arXiv:2309.06657); Zhao et al. 2023 (SLiC, arXiv:2305.10425).
    """
    return jax.nn.relu(1 - margins)


def unbiased_logistic(margins: Float[Array, "*shape"], *, label_noise: float) -> Float[Array, "*shape"]:
    """[-(1 - e) log sigmoid(m) + e log sigmoid(-m)] / (1 - 2 e): under flips its mean is the loss of the true label.

    That is (1 - e) l(m) + e l(-m) = -log sigmoid(m). Where `logistic` with noise has a finite optimum, this has none,
    and it falls without bound.

    Args:
        margins: in nats.
        label_noise: e, the probability that a label is the wrong way round, below 1/2.

    Source: Ray Chowdhury et al. 2024 (robust DPO, arXiv:2403.00409).
    """
    right, wrong = jax.nn.log_sigmoid(margins), jax.nn.log_sigmoid(-margins)
    return (-(1 - label_noise) * right + label_noise * wrong) / (1 - 2 * label_noise)


def reverse_kl(margins: Float[Array, "*shape"], *, label_noise: float) -> Float[Array, "*shape"]:
    """s (log s - log(1 - e)) + (1 - s) (log(1 - s) - log e), s = sigmoid(m): KL of (s, 1 - s) from (1 - e, e).

    Never negative, and 0 where m = log((1 - e) / e) alone. `logistic` with noise is the KL the other way round (plus a
    constant).

    Args:
        margins: in nats.
        label_noise: e, above 0 and below 1/2.

    Source: Ji et al. 2024 (EXO, arXiv:2402.00856), eq. 16.
    """
    right, wrong = jax.nn.log_sigmoid(margins), jax.nn.log_sigmoid(-margins)
    excess = jnp.exp(right) * (right - math.log1p(-label_noise))
    return excess + jnp.exp(wrong) * (wrong - math.log(label_noise))


def logistic_to_exponential(margins: Float[Array, "*shape"], *, temperature: float) -> Float[Array, "*shape"]:
    """(1 - s) (-log sigmoid(m)) + s exp(-m), s = sigmoid(m / temperature).

    Where m is below -LIMIT nats, exp(-m) is held: for the temperatures in use its share s is nothing there.

    Source: Lu et al. 2024 (DiscoPOP, arXiv:2406.08414), eq. 5.
    """
    share = jax.nn.sigmoid(margins / temperature)
    exponential = jnp.exp(-jnp.maximum(margins, -LIMIT))
    return (1 - share) * -jax.nn.log_sigmoid(margins) + share * exponential
